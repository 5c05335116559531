//! Frames there and back, and frames that must be refused.

use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8], inflater: &mut Inflater) -> Result<Control, FrameError> {
    let (prefix, payload) = bytes.split_first_chunk().expect("a frame has eight bytes first");
    match Prefix::read(*prefix)? {
        Prefix::Control { kind, flags, length } => {
            assert_eq!(length, payload.len());
            Control::read(kind, flags, payload, inflater)
        }
        Prefix::Data { .. } => panic!("not a control frame"),
    }
}

#[test]
fn control_frames_come_back_as_they_were_written() {
    let headers = Headers::new().with("streamtype", "stdin").with("port", "8080");
    let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
    for control in [
        Control::SynStream { id: 1, fin: false, unidirectional: false, headers: headers.clone() },
        Control::SynStream { id: 3, fin: true, unidirectional: true, headers: Headers::new() },
        Control::SynReply { id: 1, fin: false, headers: Headers::new() },
        Control::Headers { id: 3, fin: true, headers },
        Control::Reset { id: 5, status: ResetStatus::Cancel },
        Control::Reset { id: 5, status: ResetStatus::Other(11) },
        Control::Ping(7),
        Control::GoAway { last: 9, status: GoAwayStatus::Ok },
    ] {
        let mut bytes = BytesMut::new();
        control.write(&mut deflater, &mut bytes);
        assert_eq!(read(&bytes, &mut inflater), Ok(control));
    }
}

#[test]
fn a_ping_and_a_data_frame_have_the_layout_of_the_draft() {
    let mut bytes = BytesMut::new();
    Control::Ping(1).write(&mut Deflater::new(), &mut bytes);
    assert_eq!(&bytes[..], [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]);
    bytes.clear();
    write_data(3, true, &Bytes::from_static(b"hi"), &mut bytes);
    assert_eq!(&bytes[..], [0, 0, 0, 3, 1, 0, 0, 2, b'h', b'i']);
}

#[test]
fn frames_that_do_not_fit_their_kind_are_refused() {
    #[track_caller]
    fn check(bytes: &[u8], expected: FrameError) {
        assert_eq!(read(bytes, &mut Inflater::new()), Err(expected));
    }
    check(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1], FrameError::Version(2));
    check(&[0x80, 3, 0, 6, 0, 0, 0, 2, 0, 0], FrameError::Length { kind: PING, length: 2 });
    check(&[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 5], FrameError::ZeroStream);
    check(&[0x80, 3, 0, 4, 0, 0, 0, 4, 0xff, 0, 0, 1], FrameError::Length { kind: SETTINGS, length: 4 });
    check(&[0x80, 3, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1], FrameError::Length { kind: SYN_STREAM, length: 4 });
}

#[test]
fn the_longest_control_frame_passes_and_one_byte_more_does_not() {
    let prefix = |length: u32| {
        let [_, x, y, z] = length.to_be_bytes();
        Prefix::read([0x80, 3, 0, 99, 0, x, y, z])
    };
    assert!(prefix(65_536).is_ok());
    assert_eq!(prefix(65_537), Err(FrameError::TooLong(65_537)));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        prefix in any::<[u8; 8]>(),
        kind in 0u16..12,
        flags in any::<u8>(),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = Prefix::read(prefix);
        let _ = Control::read(kind, flags, &payload, &mut Inflater::new());
    }
}
