//! Other systems, run beside Duet on the same work: as their authors recommend, with their durability on.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`servers`] | three processes of one system, to be killed and restarted, and what each says of itself |
//! | [`zookeeper`], [`etcd`] | how each is found, configured and asked, and a client of it for loads |

pub mod etcd;
pub mod servers;
pub mod zookeeper;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::cli::Fail;

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Peer {
    /// Apache ZooKeeper.
    #[value(name = "zookeeper")]
    ZooKeeper,
    /// etcd.
    Etcd,
}

impl Peer {
    /// `zookeeper` or `etcd`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZooKeeper => "zookeeper",
            Self::Etcd => "etcd",
        }
    }

    /// Finds its program.
    ///
    /// # Errors
    /// Exit code 5 when it is not there, with what to do about it.
    pub fn find(self, places: &Places) -> Result<Installed, Fail> {
        match self {
            Self::ZooKeeper => zookeeper::find(places.zookeeper_home.as_deref()),
            Self::Etcd => etcd::find(places.etcd_bin.as_deref()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where to look for the systems, if not where packages put them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Places {
    /// The folder of ZooKeeper's jars, or of an unpacked release [default: /usr/share/java]
    #[arg(long, value_name = "DIR", help_heading = "Other systems")]
    pub zookeeper_home: Option<PathBuf>,

    /// The executable of etcd [default: the one on PATH]
    #[arg(long, value_name = "FILE", help_heading = "Other systems")]
    pub etcd_bin: Option<PathBuf>,
}

/// A system that is installed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Which.
    pub peer: Peer,
    /// The program to start.
    pub program: PathBuf,
    /// Its first arguments, the same for each server.
    pub args: Vec<String>,
}

/// The executable of this name on PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;

    #[test]
    fn what_is_not_installed_is_said_and_how_to_get_it() {
        let nowhere = PathBuf::from("/nowhere");
        let places = Places { zookeeper_home: Some(nowhere.clone()), etcd_bin: Some(nowhere) };
        for (peer, package) in
            [(Peer::ZooKeeper, "apt-get install zookeeper"), (Peer::Etcd, "apt-get install etcd-server")]
        {
            let fail = peer.find(&places).unwrap_err();
            assert_eq!(fail.exit(), Exit::Environment);
            assert!(fail.to_string().contains("/nowhere"), "{fail}");
            assert!(fail.next_step().unwrap().contains(package), "{fail:?}");
        }
    }

    #[test]
    fn only_what_can_be_run_is_found() {
        assert!(on_path("sh").is_some());
        assert_eq!(on_path("no program has this name"), None);
        assert!(!is_executable(Path::new("/")) && !is_executable(Path::new("/etc/passwd")));
    }
}
