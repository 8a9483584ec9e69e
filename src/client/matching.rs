//! The work that patterns cost is bounded for each party: for all roles below one delegation of the top-level targets
//! role. Who writes the patterns chooses how long a search takes, and must not hold up what others list.

use std::collections::BTreeMap;

use super::ClientError;
use crate::metadata::{RoleName, Steps, TargetFile, Targets};
use crate::trusted_set::{TargetSearch, Visit};

/// What each party has left.
pub(super) struct Matching {
    limit: u64,
    left: BTreeMap<RoleName, Steps>,
}

/// The parties that the roles on the way of one search belong to.
#[derive(Default)]
pub(super) struct Parties(Vec<(RoleName, RoleName)>);

impl Matching {
    pub fn new(limit: u64) -> Self {
        Self { limit, left: BTreeMap::new() }
    }

    /// Looks for a target in a role that a search visits.
    ///
    /// # Errors
    /// [`ClientError::TooManySteps`] where the role's party has spent its steps: the search has no answer then.
    pub fn look(
        &mut self,
        search: &mut TargetSearch,
        visit: &Visit,
        targets: &Targets,
        parties: &mut Parties,
    ) -> Result<Option<TargetFile>, ClientError> {
        // the top-level role is everybody's, and its patterns are its maintainer's choice
        let Some(party) = parties.of(visit) else { return Ok(search.look(visit, targets)) };
        let steps = match self.left.get_mut(&party) {
            Some(steps) => steps,
            None => self.left.entry(party).or_insert(Steps::new(self.limit)),
        };
        let found = search.look_within(visit, targets, steps);
        if found.is_none() && steps.are_spent() {
            return Err(ClientError::TooManySteps { role: visit.role.clone(), limit: self.limit });
        }
        Ok(found)
    }
}

impl Parties {
    /// Returns the party of a role that is visited; `None` for the top-level one.
    fn of(&mut self, visit: &Visit) -> Option<RoleName> {
        if visit.role == RoleName::targets() {
            return None;
        }
        let party = self.0.iter().find(|(role, _)| *role == visit.delegator).map(|(_, party)| party);
        let party = party.unwrap_or(&visit.role).clone();
        self.0.push((visit.role.clone(), party.clone()));
        Some(party)
    }
}
