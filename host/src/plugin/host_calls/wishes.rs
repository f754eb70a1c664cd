//! Implements `wishes`: a plugin's wishes for the runs of the package manager below it. As with packages, an
//! unfulfilled wish ends the run, which starts again on a layer that fulfils it.

use super::packages::check_count;
use super::{Answer, Session, from_bench, invalid};
use crate::plugin::capability::Need;
use crate::plugin::workbench::PackageRequest;
use crate::recipe::{debconf, pin};

impl Session<'_> {
    pub(super) fn answer_questions(&mut self, unchecked: &[debconf::Unchecked]) -> Answer<()> {
        check_count(unchecked.len(), "question")?;
        let answers: Vec<_> =
            unchecked.iter().map(|answer| debconf::Answer::check(answer).map_err(invalid)).collect::<Answer<_>>()?;
        for answer in &answers {
            self.gate(&Need::Debconf(answer.question().to_owned()))?;
        }
        self.require(PackageRequest::Answer { answers })
    }

    pub(super) fn pin_packages(&mut self, unchecked: &[pin::Unchecked]) -> Answer<()> {
        check_count(unchecked.len(), "pin")?;
        let pins: Vec<_> = unchecked.iter().map(|pin| pin::Pin::check(pin).map_err(invalid)).collect::<Answer<_>>()?;
        for pin in &pins {
            self.gate(&Need::PkgPin(pin.package().to_owned()))?;
        }
        self.require(PackageRequest::Pin { pins })
    }

    /// Sees that the packages below are as `request` says, or ends the run.
    pub(super) fn require(&mut self, request: PackageRequest) -> Answer<()> {
        if !self.bench.has_settled(&request).map_err(|error| from_bench(&error))? {
            self.record.asks = Some(request);
        }
        Ok(())
    }
}
