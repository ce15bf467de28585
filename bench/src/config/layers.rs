//! Where settings come from, and whose fault a bad one is.
//!
//! Each source is checked against the schema on its own before it is laid over the ones below, so an error can name
//! the file and line, the variable or the flag. The schema is [`Settings`] itself: serde refuses what it
//! does not know and lists what it does, and the nearest of those is the suggestion.

use std::path::Path;

use serde::Deserialize as _;
use toml::{Table, Value};

use super::Settings;
use crate::cli::Fail;

/// One setting from a flag or the environment: where it came from, its path in the file, its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// For messages: `--id`, `DUET_RAFT__HEARTBEAT_US`.
    pub origin: String,
    /// `raft.heartbeat_us`.
    pub path: String,
    /// As TOML.
    pub value: Value,
}

/// Settings so far, lowest source first.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    table: Table,
}

impl Layers {
    /// Lays a TOML file over what is there.
    ///
    /// # Errors
    /// A [`Fail`] when it cannot be read, is no TOML, or says something the schema does not know.
    pub fn file(&mut self, path: &Path) -> Result<(), Fail> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Fail::usage(format!("cannot read the configuration {}: {e}", path.display())))?;
        let refused = |e: toml::de::Error| explain(&format!("in {}", path.display()), &e);
        toml::from_str::<Settings>(&text).map_err(refused)?;
        overlay(&mut self.table, text.parse::<Table>().map_err(refused)?);
        Ok(())
    }

    /// Lays one setting over what is there.
    ///
    /// # Errors
    /// A [`Fail`] when the schema does not know it or its value does not fit.
    pub fn set(&mut self, setting: &Setting) -> Result<(), Fail> {
        let place = format!("{} ({} = {})", setting.origin, setting.path, setting.value);
        let mut value = setting.value.clone();
        for key in setting.path.rsplit('.') {
            if key.is_empty() {
                return Err(Fail::usage(format!("{place}: expected a setting's name, found `{}`", setting.path)));
            }
            value = Value::Table(Table::from_iter([(key.to_owned(), value)]));
        }
        let Value::Table(table) = value else { unreachable!("at least one key was wrapped around it") };
        Settings::deserialize(table.clone()).map_err(|e| explain(&place, &e))?;
        overlay(&mut self.table, table);
        Ok(())
    }

    /// The settings, defaults below everything.
    ///
    /// # Errors
    /// A [`Fail`] when the sources together do not fit the schema.
    pub fn settings(self) -> Result<Settings, Fail> {
        Settings::deserialize(self.table).map_err(|e| explain("in the settings", &e))
    }
}

/// Settings from variables such as `DUET_RAFT__HEARTBEAT_US`: two underscores stand for the dot.
pub fn from_env(vars: impl Iterator<Item = (String, String)>) -> Vec<Setting> {
    let mut found: Vec<Setting> = vars
        .filter_map(|(name, text)| {
            let path = name.strip_prefix("DUET_").filter(|rest| rest.contains("__"))?.to_lowercase().replace("__", ".");
            Some(Setting { origin: name, path, value: read_value(&text) })
        })
        .collect();
    found.sort_by(|a, b| a.origin.cmp(&b.origin));
    found
}

/// A setting as `--set KEY=VALUE` gives it.
pub fn from_assignment(text: &str) -> Result<Setting, String> {
    let (path, value) = text.split_once('=').ok_or("expected KEY=VALUE, as in raft.heartbeat_us=20000")?;
    Ok(Setting { origin: "--set".into(), path: path.trim().to_owned(), value: read_value(value.trim()) })
}

/// TOML if it reads as TOML (numbers, true, "quoted"), text otherwise: nobody wants to quote twice in a shell.
fn read_value(text: &str) -> Value {
    let one_line = !text.contains('\n');
    let parsed = format!("v = {text}").parse::<Table>().ok().filter(|_| one_line).and_then(|mut t| t.remove("v"));
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            // Voters are one value: a cluster is not the union of two clusters.
            (Some(Value::Table(b)), Value::Table(a)) if key != "voters" => overlay(b, a),
            (_, value) => _ = below.insert(key, value),
        }
    }
}

/// The error with its place, and the nearest known name if it is about an unknown one.
fn explain(place: &str, e: &toml::de::Error) -> Fail {
    let fail = Fail::usage(format!("{place}: {}", e.to_string().trim_end()));
    match nearest(e.message()) {
        Some((unknown, near)) => fail.hint(format!("`{unknown}` is no setting; did you mean `{near}`?")),
        None => fail.hint("`duet node --print-config` shows every setting with its value"),
    }
}

/// Of serde's "unknown field `x`, expected one of `a`, `b`": x, and the nearest of the others.
fn nearest(message: &str) -> Option<(&str, &str)> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    let score = |name: &str| strsim::jaro_winkler(unknown, name);
    let near = names.max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(near) > 0.6).then_some((unknown, near))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(path: &str, text: &str) -> Setting {
        Setting { origin: "--set".into(), path: path.into(), value: read_value(text) }
    }

    #[test]
    fn what_is_laid_later_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, "id = 1\ncluster = \"a\"\n[voters]\n1 = \"h:1\"\n2 = \"h:2\"\n").unwrap();
        let mut layers = Layers::default();
        layers.file(&path).unwrap();
        for s in from_env([("DUET_X".into(), "1".into()), ("DUET_LOG".into(), "x".into())].into_iter()) {
            layers.set(&s).unwrap();
        }
        layers.set(&set("cluster", "b")).unwrap();
        layers.set(&set("voters", "{ 7 = \"h:7\" }")).unwrap();
        let s = layers.settings().unwrap();
        assert_eq!((s.id, s.cluster.as_str()), (1, "b"));
        assert_eq!(s.voters.keys().collect::<Vec<_>>(), ["7"]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let e = Layers::default().set(&set("client_lissen", "h:1")).unwrap_err();
        assert!(e.to_string().contains("--set (client_lissen = \"h:1\")"), "{e}");
        assert_eq!(e.next_step(), Some("`client_lissen` is no setting; did you mean `client_listen`?"));
        let e = Layers::default().set(&set("protocol", "raff")).unwrap_err();
        assert!(e.next_step().unwrap().contains("did you mean `raft`"), "{e:?}");
        let e = Layers::default().set(&set("id", "one")).unwrap_err();
        assert!(e.to_string().contains("invalid type: string \"one\", expected u64"), "{e}");
        assert!(
            Layers::default().set(&set("a..b", "1")).unwrap_err().to_string().contains("expected a setting's name")
        );
    }

    #[test]
    fn a_file_with_a_mistake_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, "id = 1\nvoter = 3\n").unwrap();
        let e = Layers::default().file(&path).unwrap_err();
        assert!(e.to_string().contains("node.toml") && e.to_string().contains("line 2"), "{e}");
        assert!(e.next_step().unwrap().contains("did you mean `voters`"));
        let none = Layers::default().file(&dir.path().join("none.toml")).unwrap_err();
        assert!(none.to_string().contains("cannot read the configuration"));
    }

    #[test]
    fn variables_with_two_underscores_are_paths() {
        let vars = [("DUET_RAFT__HEARTBEAT_US", "50"), ("DUET_LOG", "info"), ("PATH__X", "1")];
        let got = from_env(vars.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].path.as_str(), &got[0].value), ("raft.heartbeat_us", &Value::Integer(50)));
        assert_eq!(from_assignment("a.b = true").unwrap().value, Value::Boolean(true));
        assert!(from_assignment("a.b").is_err());
    }
}
