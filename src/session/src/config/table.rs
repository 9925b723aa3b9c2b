//! `[[token]]` tables: what belongs into one, and what into the rest of the file.

use super::keys::{self, Given, MATCH_KEYS, TOKEN_KEYS};
use super::token::{Table, TokenSettings, When};
use super::value::Value;
use super::{Layers, Origins, Picker};

/// The name of a table that has none.
const UNNAMED: &str = "default";
/// More tokens than any session needs.
const LIMIT: usize = 64;

/// Says what is out of place in a file; the text names the table and the key.
pub(super) fn check(file: &Given) -> Result<(), String> {
    let is_its = |key: &&str| keys::find(MATCH_KEYS, key).is_some();
    if let Some(key) = file.keys().find(|key| is_its(key) && *key != "services") {
        return Err(format!("{key} belongs into a [[token]] table"));
    }
    if file.tables.len() > LIMIT {
        return Err(format!("there are more than {LIMIT} [[token]] tables"));
    }
    let mut open_ended: Vec<&str> = Vec::new();
    for (number, table) in file.tables.iter().enumerate() {
        let which = number + 1;
        let mut keys = table.keys();
        if let Some(key) = keys.find(|key| !TOKEN_KEYS.contains(key) && !is_its(key)) {
            return Err(format!(
                "{key} in [[token]] table {which} belongs to the top of the file: it holds for \
                 the whole session"
            ));
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
    match table.get("name") {
        Some(Value::Text(name)) => name,
        _ => UNNAMED,
    }
}

fn empty_list(table: &Given) -> Option<&'static str> {
    let is_empty = |key: &str| match table.get(key) {
        Some(Value::Names(names)) => names.is_empty(),
        Some(Value::Hosts(hosts)) => hosts.is_empty(),
        _ => false,
    };
    let mut keys = MATCH_KEYS.iter().map(|(key, _)| *key);
    keys.find(|key| is_empty(key))
}

fn when(table: &Given) -> When {
    When {
        groups: table.names("groups"),
        users: table.names("users"),
        services: table.names("services"),
        remote_hosts: match table.get("remote_hosts") {
            Some(Value::Hosts(hosts)) => hosts.clone(),
            _ => Vec::new(),
        },
        ssh_auth_methods: table.names("ssh_auth_methods"),
    }
}

/// The tables of a file, or the one that a file without any stands for; with where
/// the values of each come from.
pub(super) fn merge(layers: &Layers<'_>) -> (Vec<Table>, Vec<Origins>) {
    let one = [Given::default()];
    let given = match &layers.file.tables[..] {
        [] => &one[..],
        tables => tables,
    };
    let mut tables = Vec::with_capacity(given.len());
    let mut origins = Vec::with_capacity(given.len());
    for given in given {
        let mut from = Picker::new(Layers {
            table: Some(given),
            ..*layers
        });
        tables.push(Table {
            name: Some(name_of(given).to_owned()).filter(|name| name != UNNAMED),
            when: when(given),
            token: TokenSettings::merge(&mut from),
        });
        origins.push(from.origins);
    }
    (tables, origins)
}
