//! The Postgres that the tests beside this folder work on.

use std::os::unix::fs::PermissionsExt;

use infra::{
    database::{self, Database},
    embedded::EmbeddedPostgres,
    sealing::{Keyring, MasterKey},
};

/// A server of its own, migrated, in a folder of its own: both go when they are dropped, the server first. With it the
/// application's database, its keys, and the key above them.
pub async fn start(test: &str) -> (Database, Keyring, MasterKey, (EmbeddedPostgres, tempfile::TempDir)) {
    let folder = tempfile::Builder::new()
        .prefix(&format!("tenure-{test}-"))
        .tempdir_in("/tmp")
        .expect("a folder");
    // The server runs as another user, who must pass through.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).expect("permissions");
    let master = MasterKey::from_base64(&format!("{}=", "A".repeat(43))).expect("a key");
    let postgres = EmbeddedPostgres::start(&folder.path().join("postgres"), &master)
        .await
        .expect("a server");
    database::migrate(&postgres.url, &master).await.expect("migrated");
    let database = Database::new(&postgres.url, &master).expect("an address");
    let keyring = Keyring::new(master.clone(), database.clone());
    (database, keyring, master, (postgres, folder))
}
