//! The networks of pools: a bridge each, which can be joined.

use std::fs;
use std::process::Command;

use crate::command::{must, run};

/// A third octet whose bridge nobody has: several pools can run side by side.
fn free_network() -> u8 {
    let first = u8::try_from(std::process::id() % 200).unwrap();
    (0..200)
        .map(|step| (first + step) % 200)
        .find(|net| !is_taken(*net))
        .expect("two hundred pools are running")
}

/// Whether a bridge or an end of a cable is there.
fn is_taken(net: u8) -> bool {
    let cable = format!("idt{net}-");
    fs::read_dir("/sys/class/net").unwrap().any(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name == bridge(net) || name.starts_with(&cable)
    })
}

pub(super) fn bridge(net: u8) -> String {
    format!("idtoken{net}")
}

/// Makes the bridge of a new pool; its number.
pub(super) fn bridge_up() -> u8 {
    let net = free_network();
    let (bridge, address) = (bridge(net), format!("10.88.{net}.254/24"));
    must("ip", &["link", "add", &bridge, "type", "bridge"]);
    must("ip", &["addr", "add", &address, "dev", &bridge]);
    must("ip", &["link", "set", &bridge, "up"]);
    net
}

/// Lays a cable from a pool's bridge to another's.
pub(super) fn join(net: u8, other: u8) {
    let [near, far] = cable(net);
    let args = ["link", "add", &near, "type", "veth", "peer", "name", &far];
    must("ip", &args);
    must("ip", &["link", "set", &near, "master", &bridge(net), "up"]);
    must("ip", &["link", "set", &far, "master", &bridge(other), "up"]);
}

/// Removes a pool's bridge and the cable to another, if there is one.
pub(super) fn bridge_down(net: u8) {
    for link in [&cable(net)[0], &bridge(net)] {
        let _ = run(Command::new("ip").args(["link", "del", link]));
    }
}

fn cable(net: u8) -> [String; 2] {
    [format!("idt{net}-near"), format!("idt{net}-far")]
}
