//! Names and dates of images: pure, UTC only.

/// A point in time, taken apart in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    pub year: u64,
    pub month: u64,
    pub day: u64,
    pub hour: u64,
    pub minute: u64,
    pub second: u64,
}

impl Utc {
    /// Takes `epoch` (seconds since 1970) apart.
    pub fn from_epoch(epoch: u64) -> Self {
        let (days, rest) = (epoch / 86_400, epoch % 86_400);
        // Years are counted from 1 March, so that the leap day is the last of its year and months need no table.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest % 3600 / 60,
            second: rest % 60,
        }
    }
}

/// Returns the image's time stamp, to the minute so that two builds of one day keep apart: `2026-11-24T0915Z`.
pub fn timestamp(epoch: u64) -> String {
    let Utc { year, month, day, hour, minute, .. } = Utc::from_epoch(epoch);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}{minute:02}Z")
}

/// Returns the image's file name, from the time the build started (seconds since 1970).
pub fn file_name(epoch: u64, flavour: &str, release: &str) -> String {
    format!("{}-{flavour}-{release}-raspberry-pi.img", timestamp(epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_the_calendar() {
        for (epoch, text) in [
            (0, "1970-01-01T0000Z"),
            (951_782_399, "2000-02-28T2359Z"),
            (951_782_400, "2000-02-29T0000Z"),
            (951_868_800, "2000-03-01T0000Z"),
            (1_735_689_599, "2024-12-31T2359Z"),
            (1_795_511_700, "2026-11-24T0915Z"),
            (4_107_542_400, "2100-03-01T0000Z"),
        ] {
            assert_eq!(timestamp(epoch), text);
        }
    }

    #[test]
    fn a_name_says_when_what_and_which() {
        assert_eq!(
            file_name(1_795_511_700, "breadcrumb", "noble"),
            "2026-11-24T0915Z-breadcrumb-noble-raspberry-pi.img"
        );
    }
}
