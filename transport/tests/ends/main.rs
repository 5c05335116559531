//! Both ends of what `transport` carries, on loopback: who is believed, what a tunnel does, how a pool shares it.

mod control;
mod pool;
mod proof;
mod relay;
mod support;
mod tunnel;
