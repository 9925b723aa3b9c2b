//! `[[token]]` tables: what belongs into one, and what into the rest of the file.

use std::collections::BTreeMap;

use super::keys::{Given, MATCH_KEYS, TOKEN_KEYS};
use super::token::{Table, TokenSettings, When};
use super::{Layers, Origin, Origins};

/// The name of a table that has none.
const UNNAMED: &str = "default";
/// More tokens than any session needs.
const LIMIT: usize = 64;

/// Says what is out of place in a file; the text names the table and the key.
pub(super) fn check(file: &Given) -> Result<(), String> {
    let at_the_top = file.set_keys();
    if let Some(key) = at_the_top
        .iter()
        .find(|key| MATCH_KEYS.contains(key) && **key != "services")
    {
        return Err(format!("{key} belongs into a [[token]] table"));
    }
    if file.token.len() > LIMIT {
        return Err(format!("there are more than {LIMIT} [[token]] tables"));
    }
    let mut open_ended: Vec<&str> = Vec::new();
    for (number, table) in file.token.iter().enumerate() {
        let which = number + 1;
        if !table.token.is_empty() {
            return Err(format!(
                "[[token]] table {which} has a [[token]] table inside"
            ));
        }
        for key in table.set_keys() {
            if !TOKEN_KEYS.contains(&key) && !MATCH_KEYS.contains(&key) {
                return Err(format!(
                    "{key} in [[token]] table {which} belongs to the top of the file: it holds for \
                     the whole session"
                ));
            }
        }
        if let Some(key) = empty_list(table) {
            return Err(format!(
                "{key} in [[token]] table {which} is an empty list, which is nobody; name somebody, \
                 or leave it out for everybody"
            ));
        }
        let name = name_of(table);
        if open_ended.contains(&name) {
            return Err(format!(
                "[[token]] table {which} is never reached: a table of the name {name:?} before it \
                 is for every session; put it in front, or give it another name"
            ));
        }
        if when(table) == When::default() {
            open_ended.push(name);
        }
    }
    Ok(())
}

fn name_of(table: &Given) -> &str {
    table.name.as_ref().map_or(UNNAMED, |name| &name.0)
}

fn empty_list(table: &Given) -> Option<&'static str> {
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_some_and(Vec::is_empty);
    let hosts = table.remote_hosts.as_ref().is_some_and(Vec::is_empty);
    [
        ("groups", is_empty(&table.groups)),
        ("users", is_empty(&table.users)),
        ("services", is_empty(&table.services)),
        ("remote_hosts", hosts),
        ("ssh_auth_methods", is_empty(&table.ssh_auth_methods)),
    ]
    .into_iter()
    .find_map(|(key, is_empty)| is_empty.then_some(key))
}

fn when(table: &Given) -> When {
    let list = |given: &Option<Vec<String>>| given.clone().unwrap_or_default();
    When {
        groups: list(&table.groups),
        users: list(&table.users),
        services: list(&table.services),
        remote_hosts: table.remote_hosts.clone().unwrap_or_default(),
        ssh_auth_methods: list(&table.ssh_auth_methods),
    }
}

/// The tables of a file, or the one that a file without any stands for; with where
/// the values of each come from.
pub(super) fn merge(layers: &Layers<'_>) -> Vec<(Table, BTreeMap<&'static str, Origin>)> {
    let mut tables = Vec::with_capacity(layers.file.token.len().max(1));
    for given in &layers.file.token {
        let mut from = Origins::default();
        let layers = Layers {
            table: Some(given),
            ..*layers
        };
        let token = TokenSettings::merge(&layers, &mut from);
        let table = Table {
            name: Some(name_of(given).to_owned()).filter(|name| name != UNNAMED),
            when: when(given),
            token,
        };
        tables.push((table, from.0));
    }
    if tables.is_empty() {
        let mut from = Origins::default();
        let token = TokenSettings::merge(layers, &mut from);
        let table = Table {
            name: None,
            when: When::default(),
            token,
        };
        tables.push((table, from.0));
    }
    tables
}
