//! A folder or a bucket into which others put files: each connection has a folder of its own, named by its id.

use std::{fmt, path::PathBuf, sync::Arc};

use bytes::Bytes;
use domain::Timestamp;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use url::Url;

/// Endings of the names that are taken, without the dot. Everything else stays where it lies.
const ENDINGS: [&str; 6] = ["csv", "tsv", "txt", "xlsx", "xlsm", "xls"];
/// A file that was written to more recently may not be whole yet.
pub const SETTLED_AFTER: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    #[error("the inbox {0:?} is no address: give a folder, or s3://bucket/folder with AWS_ACCESS_KEY_ID and so on")]
    Address(String),
    #[error("the inbox cannot be used: {0}")]
    Store(#[from] object_store::Error),
    #[error("a file of the inbox has {0} bytes, which is more than is read")]
    TooLarge(u64),
}

/// A file that lies in a connection's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub name: String,
    pub modified: Timestamp,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Of a folder on this machine.
    root: Option<PathBuf>,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl InboxError {
    /// Whether a file is not there: somebody else took it, or whoever put it there took it back.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::NotFound { .. }))
    }
}

impl Inbox {
    /// Opens a folder of this machine, or `s3://bucket/folder` with the settings of `AWS_*` environment variables (`AWS_ENDPOINT_URL` for
    /// other makers' stores). A folder is made if there is none.
    ///
    /// # Errors
    /// When it is no address that is known, or the folder cannot be made.
    pub fn open(address: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Self, InboxError> {
        let wrong = || InboxError::Address(address.to_owned());
        if let Ok(url) = Url::parse(address)
            && !matches!(url.scheme(), "file")
        {
            let settings = environment.filter(|(name, _)| name.starts_with("AWS_"));
            let settings = settings.map(|(name, value)| (name.to_ascii_lowercase(), value));
            let (store, prefix) = object_store::parse_url_opts(&url, settings).map_err(|_| wrong())?;
            return Ok(Self {
                store: store.into(),
                prefix,
                root: None,
            });
        }
        let folder = PathBuf::from(address.strip_prefix("file://").unwrap_or(address));
        std::fs::create_dir_all(&folder).map_err(|_| wrong())?;
        let root = folder.canonicalize().map_err(|_| wrong())?;
        let store = object_store::local::LocalFileSystem::new_with_prefix(&root)?;
        Ok(Self {
            store: Arc::new(store),
            prefix: Path::default(),
            root: Some(root),
        })
    }

    /// The files of a folder that are whole, oldest first.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn files(&self, folder: &str, now: Timestamp) -> Result<Vec<Arrived>, InboxError> {
        let place = self.prefix.clone().join(folder);
        let found = match self.store.list_with_delimiter(Some(&place)).await {
            Ok(found) => found.objects,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut files: Vec<Arrived> = Vec::new();
        for object in found {
            let name = object.location.filename().unwrap_or_default().to_owned();
            let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
            let is_taken =
                ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && !name.starts_with(['.', '~']);
            if is_taken && object.last_modified + SETTLED_AFTER <= now && !self.is_link(&object.location) {
                files.push(Arrived {
                    name,
                    modified: object.last_modified,
                });
            }
        }
        files.sort_by(|one, other| (one.modified, &one.name).cmp(&(other.modified, &other.name)));
        Ok(files)
    }

    /// Whoever may put files here may not have files read that lie elsewhere.
    fn is_link(&self, place: &Path) -> bool {
        let Some(root) = &self.root else { return false };
        let path = root.join(place.as_ref());
        std::fs::symlink_metadata(path).map_or(true, |found| !found.is_file())
    }

    /// The contents of a file.
    ///
    /// # Errors
    /// When it has more than `most` bytes, or cannot be read.
    pub async fn read(&self, folder: &str, file: &Arrived, most: usize) -> Result<Bytes, InboxError> {
        let found = self.store.get(&self.place(folder, &file.name)).await?;
        if found.meta.size > most as u64 {
            return Err(InboxError::TooLarge(found.meta.size));
        }
        Ok(found.bytes().await?)
    }

    /// Writes a file beside those that arrived.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn write(&self, folder: &str, name: &str, contents: Vec<u8>) -> Result<(), InboxError> {
        self.store.put(&self.place(folder, name), contents.into()).await?;
        Ok(())
    }

    /// Moves a file that arrived to `to`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_away(&self, folder: &str, file: &Arrived, to: &str) -> Result<(), InboxError> {
        let (from, to) = (self.place(folder, &file.name), self.place(folder, to));
        Ok(self.store.rename(&from, &to).await?)
    }

    fn place(&self, folder: &str, name: &str) -> Path {
        name.split('/')
            .fold(self.prefix.clone().join(folder), |place, part| place.join(part))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, iter};

    use super::*;

    fn open(folder: &std::path::Path) -> Inbox {
        Inbox::open(folder.to_str().expect("a path"), iter::empty()).expect("an inbox")
    }

    #[tokio::test]
    async fn files_that_are_whole_are_taken_oldest_first_and_put_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("c1");
        fs::create_dir_all(own.join("done")).expect("a folder");
        let write = |name: &str, seconds: u64| {
            let file = fs::File::create(own.join(name)).expect("a file");
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.set_modified(at).expect("a time");
        };
        for (name, seconds) in [
            ("b.csv", 100),
            ("a.CSV", 200),
            ("young.csv", 995),
            ("~$b.xlsx", 1),
            (".c.csv", 1),
            ("d.pdf", 1),
            ("done/e.csv", 1),
            ("spaces in it.txt", 50),
        ] {
            write(name, seconds);
        }
        let secret = folder.path().join("secret.txt");
        fs::write(&secret, "x").expect("a file");
        std::os::unix::fs::symlink(&secret, own.join("link.csv")).expect("a link");
        let inbox = open(folder.path());
        let now = Timestamp::from_timestamp(1_000, 0).expect("a time");
        let names = |files: &[Arrived]| files.iter().map(|file| file.name.clone()).collect::<Vec<_>>();
        let files = inbox.files("c1", now).await.expect("listed");
        assert_eq!(names(&files), ["spaces in it.txt", "b.csv", "a.CSV"]);
        assert_eq!(inbox.files("c2", now).await.expect("listed"), []);

        fs::write(own.join("b.csv"), "id\n1\n").expect("written");
        assert_eq!(inbox.read("c1", &files[1], 5).await.expect("read"), "id\n1\n");
        assert!(matches!(
            inbox.read("c1", &files[1], 4).await,
            Err(InboxError::TooLarge(5))
        ));
        inbox
            .write("c1", "done/b.csv.problems.csv", b"id".to_vec())
            .await
            .expect("written");
        inbox.put_away("c1", &files[1], "done/b.csv").await.expect("moved");
        inbox
            .put_away("c1", &files[0], "refused/spaces in it.txt")
            .await
            .expect("moved");
        assert_eq!(names(&inbox.files("c1", now).await.expect("listed")), ["a.CSV"]);
        let again = inbox.put_away("c1", &files[1], "done/b.csv").await;
        let read = inbox.read("c1", &files[1], 5).await.map(drop);
        assert!(again.is_err_and(|problem| problem.is_gone()) && read.is_err_and(|problem| problem.is_gone()));
        assert_eq!(fs::read(own.join("done/b.csv")).expect("there"), b"id\n1\n");
        assert!(own.join("refused/spaces in it.txt").exists() && own.join("done/b.csv.problems.csv").exists());
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for address in ["ftp://acme.example/in", "/dev/null/x", ""] {
            let problem = Inbox::open(address, iter::empty()).expect_err(address);
            assert!(problem.to_string().contains("give a folder, or s3://"), "{problem}");
        }
        assert!(
            Inbox::open(
                "s3://bucket/in",
                iter::once(("AWS_REGION".to_owned(), "eu-south-1".to_owned()))
            )
            .is_ok()
        );
    }
}
