//! Social security numbers of the United States: three, two and four digits with the same separator between them, of
//! numbers that can be given out. Nine digits in a row are not taken for one.

use std::ops::Range;

use super::digits::{Digit, before, rows};

pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for separator in ['-', ' '] {
        for row in rows(text, &[separator]) {
            // A longer row is something else, but blanks stand between anything.
            for three in row.windows(3).filter(|_| row.len() == 3 || separator == ' ') {
                let [area, group, serial] =
                    [number(&three[0], 3), number(&three[1], 2), number(&three[2], 4)];
                let given = |number: Option<u32>| number.is_some_and(|number| number > 0);
                if given(area)
                    && given(group)
                    && given(serial)
                    && area.is_some_and(|it| it != 666 && it < 900)
                {
                    let range = three[0][0].at..three[2][3].at + 1;
                    if !before(text, range.start).is_some_and(|it| it == '-' || it.is_alphanumeric()) {
                        found.push(range);
                    }
                }
            }
        }
    }
    found
}

fn number(group: &[Digit], length: usize) -> Option<u32> {
    (group.len() == length).then(|| group.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit.value)))
}
