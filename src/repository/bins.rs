//! Hash bins: many roles of equal trust, among which the SHA-256 of a target path chooses (TAP 15).
//!
//! A delegator says so in one member (`succinct_roles`), or role by role with `path_hash_prefixes`, as clients before
//! TAP 15 need it. Both are one [`BinSet`] here. Bins are leaves: none delegates further, so that those that nobody asks
//! for need not be read (docs/adr/0009-bins-are-read-on-demand.md).

use ring::digest::{SHA256, digest};

use crate::metadata::{DelegatedRole, Delegations, RoleName, RoleNameError, Snapshot};

/// The most bins that one delegation can have.
pub const MOST_BINS: u64 = 65_536;

/// Hash bins named `PREFIX-INDEX`, whose number is a power of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinSet {
    prefix: String,
    bits: u32,
}

/// What a delegator delegates to, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegatee {
    /// A role of its own.
    Role(RoleName),
    /// Hash bins.
    Bins(BinSet),
}

impl BinSet {
    /// Names the bins of a new delegation; `None` where their number is no power of two from 2 to [`MOST_BINS`].
    pub fn new(prefix: &str, number: u64) -> Option<Self> {
        let fits = number.is_power_of_two() && (2..=MOST_BINS).contains(&number);
        fits.then(|| Self { prefix: prefix.to_owned(), bits: number.trailing_zeros() })
    }

    /// Returns the name that the bins have in common.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns how many leading bits of a path's SHA-256 choose the bin.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Returns how many bins there are.
    pub fn number(&self) -> u64 {
        1 << self.bits
    }

    /// Returns the name of a bin by its index.
    pub fn name(&self, index: u64) -> String {
        let digits = self.digits();
        format!("{}-{index:0digits$x}", self.prefix)
    }

    /// Returns the bin of an index; `None` where no role's name can start with the prefix.
    pub fn bin(&self, index: u64) -> Option<RoleName> {
        RoleName::new(self.name(index)).ok()
    }

    /// Returns all bins in order.
    pub fn all(&self) -> impl Iterator<Item = RoleName> + '_ {
        (0..self.number()).filter_map(|index| self.bin(index))
    }

    /// Returns the index of the bin that a target path falls into.
    pub fn index_for(&self, path: &str) -> u64 {
        let hash = digest(&SHA256, path.as_bytes());
        let head = hash.as_ref().first_chunk::<4>().map_or(0, |head| u32::from_be_bytes(*head));
        u64::from(head.checked_shr(32 - self.bits).unwrap_or(0))
    }

    /// Tells whether a role is one of the bins.
    pub fn contains(&self, role: &RoleName) -> bool {
        let digits = role
            .as_str()
            .strip_prefix(self.prefix.as_str())
            .and_then(|rest| rest.strip_prefix('-'))
            .filter(|digits| digits.len() == self.digits() && digits.bytes().all(is_lower_hex));
        let index = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        index.is_some_and(|index| index < self.number())
    }

    /// Returns the bins that a snapshot lists, in order.
    pub fn listed_by<'s>(&'s self, snapshot: &'s Snapshot) -> impl Iterator<Item = RoleName> + 's {
        snapshot
            .meta
            .keys_from(&self.prefix)
            .take_while(|path| path.starts_with(&self.prefix))
            .filter_map(|path| RoleName::from_metapath(&path))
            .filter(|role| self.contains(role))
    }

    /// Returns the prefixes of path hashes that lead to the bin of an index.
    pub fn path_hash_prefixes(&self, index: u64) -> Vec<String> {
        let digits = self.digits();
        let each = 1_u64 << (4 * digits as u32 - self.bits);
        (index * each..(index + 1) * each).map(|prefix| format!("{prefix:0digits$x}")).collect()
    }

    fn digits(&self) -> usize {
        (self.bits as usize).div_ceil(4)
    }

    /// Finds bins that are delegated to role by role: the first is given, with those that follow it.
    fn of_roles(roles: &[DelegatedRole]) -> Option<Self> {
        let first = roles.first()?;
        let (prefix, digits) = first.name.as_str().rsplit_once('-')?;
        let listed = first.path_hash_prefixes.as_ref()?.len();
        if digits.is_empty() || digits.len() > 8 || digits.bytes().any(|digit| digit != b'0') {
            return None;
        }
        let bits =
            (4 * digits.len() as u32).checked_sub(listed.is_power_of_two().then(|| listed.ilog2())?)?;
        let bins = Self { prefix: prefix.to_owned(), bits };
        let all = roles.get(..usize::try_from(bins.number()).ok()?)?;
        let fits = |(index, role): (usize, &DelegatedRole)| {
            role.name.as_str() == bins.name(index as u64)
                && role.path_hash_prefixes.as_deref() == Some(&bins.path_hash_prefixes(index as u64))
                && (&role.keyids, role.threshold, role.terminating)
                    == (&first.keyids, first.threshold, first.terminating)
                && role.extra.is_empty()
        };
        // a single bin is a role like any other
        (bits > 0 && bins.digits() == digits.len() && all.iter().enumerate().all(fits)).then_some(bins)
    }
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// Returns what delegations delegate to, in their order. Names that no role has here are left out (see [`left_out`]): no command
/// follows them, nor makes a file's name of them.
pub fn delegatees(delegations: &Delegations) -> Vec<Delegatee> {
    let mut all = all_delegatees(delegations);
    all.retain(|delegatee| name_of(delegatee).is_ok());
    all
}

/// Returns the names that delegations delegate to and that no role has here, with the reasons.
pub fn left_out(delegations: &Delegations) -> Vec<(RoleName, RoleNameError)> {
    let refused = |delegatee: Delegatee| {
        let reason = name_of(&delegatee).err()?;
        let role = match delegatee {
            Delegatee::Role(role) => Some(role),
            Delegatee::Bins(set) => set.bin(0),
        };
        // a prefix with which no role's name can begin
        role.map(|role| (role, reason))
    };
    all_delegatees(delegations).into_iter().filter_map(refused).collect()
}

/// Judges the name of what is delegated to; of hash bins the longest stands for all.
fn name_of(delegatee: &Delegatee) -> Result<RoleName, RoleNameError> {
    match delegatee {
        Delegatee::Role(role) => RoleName::parse(role.as_str()),
        Delegatee::Bins(set) => RoleName::parse(&set.name(set.number() - 1)),
    }
}

fn all_delegatees(delegations: &Delegations) -> Vec<Delegatee> {
    if let Some(bins) = &delegations.succinct_roles {
        let bins = BinSet { prefix: bins.name_prefix.clone(), bits: bins.bit_length };
        return vec![Delegatee::Bins(bins)];
    }
    let roles = delegations.roles();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(role) = roles.get(at) {
        match BinSet::of_roles(&roles[at..]) {
            Some(bins) => {
                at += bins.number() as usize;
                found.push(Delegatee::Bins(bins));
            }
            None => {
                at += 1;
                found.push(Delegatee::Role(role.name.clone()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Extra, SuccinctRoles, Threshold, path_hash};

    fn classic(bins: &BinSet) -> Vec<DelegatedRole> {
        let role = |index: u64| DelegatedRole {
            name: bins.bin(index).unwrap(),
            keyids: Vec::new(),
            threshold: Threshold::ONE,
            terminating: true,
            paths: None,
            path_hash_prefixes: Some(bins.path_hash_prefixes(index)),
            extra: Extra::new(),
        };
        (0..bins.number()).map(role).collect()
    }

    #[test]
    fn both_kinds_of_bins_send_a_path_to_the_bin_that_tap_15_names() {
        for number in (1..=12).map(|bits| 1_u64 << bits) {
            let bins = BinSet::new("bin", number).unwrap();
            let succinct = SuccinctRoles {
                keyids: Vec::new(),
                threshold: Threshold::ONE,
                bit_length: bins.bits(),
                name_prefix: "bin".into(),
                extra: Extra::new(),
            };
            let classic = classic(&bins);
            for path in ["a.txt", "dir/b", "c", "ä/ö", "x/y/z.tar.gz"] {
                let name = bins.name(bins.index_for(path));
                assert_eq!(name, succinct.bin_for(path), "{path} in {number}");
                let trusted: Vec<&str> =
                    classic.iter().filter(|role| role.trusts(path)).map(|role| role.name.as_str()).collect();
                assert_eq!(trusted, [name], "{path} in {number}, {}", path_hash(path));
            }
        }
        for number in [0, 1, 3, 100, 131_072] {
            assert_eq!(BinSet::new("bin", number), None, "{number}");
        }
    }

    #[test]
    fn bins_are_found_among_other_roles_and_only_where_they_are_whole_and_equal() {
        let bins = BinSet::new("bin", 32).unwrap();
        let mut other = classic(&BinSet::new("x", 2).unwrap())[..1].to_vec();
        let mut delegations = Delegations::new();
        let roles = delegations.roles.as_mut().unwrap();
        roles.append(&mut other);
        roles.extend(classic(&bins));
        let first = Delegatee::Role(RoleName::new("x-0").unwrap());
        assert_eq!(delegatees(&delegations), [first, Delegatee::Bins(bins)]);
        delegations.roles.as_mut().unwrap()[7].threshold = Threshold::new(2).unwrap();
        assert_eq!(delegatees(&delegations).len(), 33);
    }

    #[test]
    fn a_bin_is_known_by_its_name() {
        let bins = BinSet::new("bin", 1024).unwrap();
        let is_bin = |name: &str| bins.contains(&RoleName::new(name).unwrap());
        assert!(is_bin("bin-000") && is_bin("bin-3ff"));
        for name in ["bin-400", "bin-3FF", "bin-03ff", "bin-", "bin3ff", "x-3ff", "bin-+3f"] {
            assert!(!is_bin(name), "{name}");
        }
    }
}
