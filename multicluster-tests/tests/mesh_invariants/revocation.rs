//! A `Revocation`, as `strait revoke` would write it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Revokes what an identity was issued until now.
pub(crate) fn revocation(identity: &str) -> String {
    format!(
        "
apiVersion: strait.dev/v1alpha1
kind: Revocation
metadata: {{name: revoked}}
spec: {{identity: \"{identity}\", issuedBefore: \"{}\"}}
",
        now()
    )
}

/// Now, as RFC 3339 in whole seconds.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (days, second) = (seconds / 86400, seconds % 86400);
    // Days since 1970 to a date, by the calendar's 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
