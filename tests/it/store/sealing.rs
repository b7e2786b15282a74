//! Stores whose seal algorithm is selected, and selected anew (capabilities A5).

use std::sync::Arc;

use oncegate::model::client::Access;
use oncegate::model::sealing::SealAlgorithm;
use oncegate::secret::SharedSecret;
use oncegate::store::medium::{Medium, Memory};
use oncegate::store::{Change, KeyPurpose, Store, StoreError};
use redb::{ReadableDatabase, TableDefinition};

use crate::store::contract::{client, verifiers};
use crate::support::disk::Disk;
use crate::support::store::{NOW, attempt, by, enrol, key, open_sealed, token};

use SealAlgorithm::{Aes256Gcm as Aes, Aria256Gcm as Aria, Seed128CtrHmacSha256 as Seed};

/// The number of the algorithm that sealed the data key of this closed store.
fn data_key_algorithm(medium: &dyn Medium) -> u8 {
    let file = medium.open("main.redb", &redb::Builder::new()).unwrap();
    let meta: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
    let table = file.begin_read().unwrap().open_table(meta).unwrap();
    let sealed = table.get("data_key".as_bytes()).unwrap().unwrap();
    sealed.value()[0]
}

/// Writes one of everything that is sealed.
async fn write(store: &Store, n: usize) {
    let name = format!("user{n}");
    enrol(store, &name, &format!("HOTP-{n}")).await.unwrap();
    let set = Change::SetCredentials(key(&name), verifiers(0));
    store.change(set, by()).await.unwrap();
    let client = client(&format!("client{n}"), &format!("10.{n}.0.0/16"));
    store
        .change(Change::CreateClient(client), by())
        .await
        .unwrap();
}

fn read(store: &Store, n: usize) {
    let (name, serial) = (format!("user{n}"), format!("HOTP-{n}"));
    let (found, _) = store.token(&serial.parse().unwrap()).unwrap().unwrap();
    assert_eq!(found.key, token(&name, &serial).key);
    let found = store.credentials(&key(&name)).unwrap();
    assert_eq!(found, verifiers(found.revision));
    let secret = |access: &Access| -> Option<SharedSecret> {
        match access {
            Access::Radius(radius) => Some(radius.secret.clone()),
            Access::Api(_) => None,
        }
    };
    let expected = client(&format!("client{n}"), &format!("10.{n}.0.0/16"));
    let clients = store.clients().unwrap();
    let found = clients.iter().find(|found| found.name == expected.name);
    assert_eq!(secret(&found.unwrap().access), secret(&expected.access));
}

/// Every change from one algorithm to another, and staying with each.
#[tokio::test]
async fn a_store_reads_what_every_selection_wrote() {
    let medium = Arc::new(Memory::default());
    let mut pepper = None;
    let selections = [Aes, Aes, Aria, Aria, Seed, Seed, Aria, Aes, Seed, Aes];
    for (n, algorithm) in selections.into_iter().enumerate() {
        let store = open_sealed(medium.clone(), algorithm).unwrap();
        for earlier in 0..n {
            read(&store, earlier);
        }
        write(&store, n).await;
        read(&store, n);
        let serial = format!("HOTP-{n}");
        attempt(&store, &format!("user{n}"), &serial, &[1], NOW)
            .await
            .unwrap();
        // Hashes of PINs made before must be found again.
        let found = *store.key(KeyPurpose::Pepper).expose();
        assert_eq!(found, *pepper.get_or_insert(found));
        let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
        assert_eq!(report.fault, None);
        drop(store);
        let number = match algorithm {
            Aes => 1,
            Aria => 2,
            Seed => 3,
        };
        assert_eq!(data_key_algorithm(medium.as_ref()), number, "{algorithm}");
    }
}

#[tokio::test]
async fn a_selection_that_cannot_be_written_leaves_the_store_as_it_was() {
    let disk = Disk::default();
    let store = open_sealed(Arc::new(disk.clone()), Aes).unwrap();
    write(&store, 0).await;
    drop(store);
    disk.set_full(true);
    assert!(matches!(
        open_sealed(Arc::new(disk.clone()), Aria),
        Err(StoreError::Disk(_))
    ));
    disk.set_full(false);
    assert_eq!(data_key_algorithm(&disk), 1);
    for algorithm in [Aes, Aria, Seed] {
        let store = open_sealed(Arc::new(disk.clone()), algorithm).unwrap();
        read(&store, 0);
    }
}
