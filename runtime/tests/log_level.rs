//! The log of a process, in a process of its own: there is only one.

use runtime::logging::{Config, FILTER_BYTES_MAX, Format, LogError, init};

#[test]
fn the_log_starts_once_and_its_filter_changes() {
    assert!(matches!(
        init(&Config { filter: "a=b=c=d".to_owned(), ..Config::default() }),
        Err(LogError::Filter { .. })
    ));
    let logging = init(&Config::default()).unwrap();
    assert_eq!(logging.filter(), "info");
    logging.set_filter("warn,runtime=debug").unwrap();
    assert!(logging.set_filter("x=nonsense").is_err());
    assert!(logging.set_filter(&"a".repeat(FILTER_BYTES_MAX + 1)).is_err());
    assert_eq!(logging.filter(), "warn,runtime=debug");
    let again = init(&Config { format: Format::Json, filter: "trace".to_owned() }).unwrap();
    assert_eq!(again.filter(), "warn,runtime=debug");
}
