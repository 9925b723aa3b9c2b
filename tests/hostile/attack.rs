//! What an attack is, and how each kind of them is run.

use std::sync::{Mutex, PoisonError};

use crate::cell::{self, Cell};
use crate::siege::Siege;

/// An attack by its name.
#[derive(Clone, Copy)]
pub(crate) enum Attack {
    /// Something that is there before sessions open, are renewed and close: what the attacker typed.
    Planted(&'static str, &'static str),
    /// Anything on a booted host.
    Host(&'static str, fn(&Siege)),
    /// Through libpam, in a host of ring 2.
    Cell(&'static str, fn(&Cell)),
    /// The end of all.
    Last(&'static str, fn(&mut Siege)),
}

/// The sessions of the others.
pub(crate) const LAST: &[Attack] = &[Attack::Last(
    "after all that, the others had their tokens to the last",
    Siege::end,
)];

impl Attack {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Planted(name, _)
            | Self::Host(name, _)
            | Self::Cell(name, _)
            | Self::Last(name, _) => name,
        }
    }

    /// Runs it, on a host that is booted if there is none yet; what should not have happened.
    pub(crate) fn run(self, siege: &Mutex<Option<Siege>>) -> Vec<String> {
        if let Self::Cell(_, attack) = self {
            return cell::withstand(attack);
        }
        let mut siege = siege.lock().unwrap_or_else(PoisonError::into_inner);
        let siege = siege.get_or_insert_with(Siege::begin);
        match self {
            Self::Planted(_, script) => siege.withstand(|siege| {
                siege.does(script);
                siege.sessions();
            }),
            Self::Host(_, attack) => siege.withstand(attack),
            Self::Last(_, attack) => {
                attack(siege);
                Vec::new()
            }
            Self::Cell(..) => unreachable!("it needs no booted host"),
        }
    }
}
