//! When an export is due, as the CronJob controller reckons it.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use thiserror::Error;

/// So many runs in a row may fail to publish before what is published counts as stale.
const MISSED_RUNS: usize = 3;

/// What a run may take, until it counts as missed.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// A schedule that cannot be read.
#[derive(Debug, Error)]
pub(crate) enum InvalidSchedule {
    /// The expression.
    #[error("spec.schedule {schedule:?}: {reason}")]
    Expression {
        /// As it was given.
        schedule: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The time zone.
    #[error("spec.timeZone {0:?} is no time zone, such as Etc/UTC or Europe/Stockholm")]
    TimeZone(String),
}

/// A schedule in its time zone.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// Reads an expression as Kubernetes does: five fields, or a macro such as `@hourly`.
    ///
    /// # Errors
    /// [`InvalidSchedule`] says which of the two cannot be read, and why.
    pub(crate) fn new(schedule: &str, time_zone: &str) -> Result<Self, InvalidSchedule> {
        let expression = match schedule.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            fields => fields,
        };
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            // Kubernetes takes `5/10` for `5-59/10`.
            .sloppy_ranges(true)
            .build()
            // For Kubernetes, `?` is another word for `*`.
            .parse(&expression.replace('?', "*"))
            .map_err(|error| InvalidSchedule::Expression {
                schedule: schedule.to_owned(),
                reason: error.to_string(),
            })?;
        let zone = TimeZone::get(time_zone).map_err(|_| InvalidSchedule::TimeZone(time_zone.to_owned()))?;
        Ok(Self { cron, zone })
    }

    /// The moment at which a success becomes stale: three further runs were due by then, and none of them succeeded.
    /// For a schedule of even steps that is three times its interval; one with pauses is not stale in a pause.
    ///
    /// `None` if the schedule has no such moment: it names a day that no year has.
    pub(crate) fn stale_after(&self, success: Timestamp) -> Option<Timestamp> {
        let mut moment = success.to_zoned(self.zone.clone());
        for _ in 0..MISSED_RUNS {
            moment = self.cron.find_next_occurrence(&moment, false).ok()?;
        }
        moment.timestamp().checked_add(GRACE).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale_after(schedule: &str, zone: &str, success: &str) -> String {
        let schedule = Schedule::new(schedule, zone).unwrap();
        schedule.stale_after(success.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn three_runs_may_be_missed_and_a_minute_is_given() {
        for (schedule, success, stale) in [
            ("*/1 * * * *", "2026-11-21T10:00:07Z", "2026-11-21T10:04:00Z"),
            ("* * * * *", "2026-11-21T10:00:59Z", "2026-11-21T10:04:00Z"),
            ("*/5 * * * *", "2026-11-21T10:00:07Z", "2026-11-21T10:16:00Z"),
            ("7/20 * * * *", "2026-11-21T10:07:30Z", "2026-11-21T11:08:00Z"),
            ("30 3 ? * ?", "2026-11-21T03:30:30Z", "2026-11-24T03:31:00Z"),
            ("@hourly", "2026-11-21T10:00:07Z", "2026-11-21T13:01:00Z"),
            ("@daily", "2026-11-21T00:00:07Z", "2026-11-24T00:01:00Z"),
            ("@midnight", "2026-11-21T00:00:07Z", "2026-11-24T00:01:00Z"),
            ("@weekly", "2026-11-22T00:00:07Z", "2026-12-13T00:01:00Z"),
            ("@monthly", "2026-11-01T00:00:07Z", "2027-02-01T00:01:00Z"),
            ("@yearly", "2026-01-01T00:00:07Z", "2029-01-01T00:01:00Z"),
            ("@annually", "2026-01-01T00:00:07Z", "2029-01-01T00:01:00Z"),
        ] {
            assert_eq!(stale_after(schedule, "Etc/UTC", success), stale, "{schedule}");
        }
    }

    #[test]
    fn a_night_in_which_nothing_is_due_makes_nothing_stale() {
        let office = |success| stale_after("0 9-17 * * MON-FRI", "Europe/Stockholm", success);
        // Friday, five o'clock there: the third run is on Monday at eleven.
        assert_eq!(office("2026-11-20T16:00:09Z"), "2026-11-23T10:01:00Z");
        // The same in summer time.
        assert_eq!(office("2026-07-17T15:00:09Z"), "2026-07-20T09:01:00Z");
    }

    #[test]
    fn what_cannot_be_read_names_the_field() {
        for (schedule, zone, field) in [
            ("* * * *", "Etc/UTC", "spec.schedule"),
            ("0 * * * * *", "Etc/UTC", "spec.schedule"),
            ("61 * * * *", "Etc/UTC", "spec.schedule"),
            ("@sometimes", "Etc/UTC", "spec.schedule"),
            ("* * * * *", "Moon/Tranquility", "spec.timeZone"),
        ] {
            let error = Schedule::new(schedule, zone).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }

    #[test]
    fn a_day_that_no_year_has_is_never_due() {
        let schedule = Schedule::new("0 0 31 2 *", "Etc/UTC").unwrap();
        assert_eq!(schedule.stale_after("2026-11-21T10:00:00Z".parse().unwrap()), None);
    }
}
