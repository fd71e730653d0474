//! Credentials in the database: who may call, known by a hash of the token (storage spec, section 7).

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use flipt_proto::{auth as pb, from_unix_micros};
use futures::TryFutureExt as _;

use crate::{
    SqlStore, StoreError, Version,
    database::{Param, Row, Transaction, params},
    place::Place,
    sql::{CREDENTIALS, new_id},
    state,
    writer::{in_turn, looked_up, retried},
};

const COLUMNS: &str = "id, method, metadata, expires_at, created_at, updated_at, hashed_client_token";

/// Credentials to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuthentication {
    /// How the caller proved who it is.
    pub method: pb::Method,
    /// Hash of the client token; the token itself is never stored.
    pub token_hash: String,
    /// When the credentials end, in microseconds since the Unix epoch; never if absent.
    pub expires_at: Option<i64>,
    /// What is known about the caller.
    pub metadata: BTreeMap<String, String>,
}

/// A part of the list of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthenticationPage {
    /// Only credentials of this method, if it is not [`pb::Method::None`].
    pub method: i32,
    /// How many to skip.
    pub offset: u64,
    /// How many at most.
    pub limit: u32,
}

/// Credentials, in whatever keeps them.
///
/// # Guarantees
/// - Every write is atomic and durable when it returns.
///
/// # Errors
/// Every method fails with [`StoreError`].
#[async_trait]
pub trait AuthenticationStore: Send + Sync {
    /// Text that changes with every write to credentials, and never comes back; without asking anything.
    fn revision(&self) -> String;
    /// Keeps new credentials under a new id.
    async fn create_authentication(&self, new: &NewAuthentication) -> Result<pb::Authentication, StoreError>;
    /// Keeps new credentials, unless there are some of their method already: even expired ones. Of several
    /// servers that try at once, one succeeds.
    async fn create_first_authentication(
        &self,
        new: &NewAuthentication,
    ) -> Result<Option<pb::Authentication>, StoreError>;
    /// The credentials with this hash of a token, and the hash as it is stored.
    async fn find_authentication(
        &self,
        token_hash: &str,
    ) -> Result<Option<(pb::Authentication, String)>, StoreError>;
    /// The credentials with this id.
    async fn get_authentication(&self, id: &str) -> Result<Option<pb::Authentication>, StoreError>;
    /// A page of the list in order of creation, and whether more follow.
    async fn list_authentications(
        &self,
        page: AuthenticationPage,
    ) -> Result<(Vec<pb::Authentication>, bool), StoreError>;
    /// Removes credentials; ones that do not exist are removed already.
    async fn delete_authentication(&self, id: &str) -> Result<(), StoreError>;
    /// Moves the end of credentials, in microseconds since the Unix epoch.
    async fn expire_authentication(&self, id: &str, expires_at: i64) -> Result<(), StoreError>;
    /// Removes the credentials of a method that ended before an instant; tells how many.
    async fn delete_expired_authentications(
        &self,
        method: pb::Method,
        before: i64,
    ) -> Result<u64, StoreError>;
    /// Tries to be the one that does an operation until an instant. The second value is until when
    /// somebody has it: our own `until`, or that of whoever was first.
    async fn acquire_operation(
        &self,
        operation: &str,
        now: i64,
        until: i64,
    ) -> Result<(bool, i64), StoreError>;
}

fn from_row(row: &Row) -> Result<pb::Authentication, StoreError> {
    let metadata = row.text(2)?;
    let metadata = if metadata.is_empty() {
        BTreeMap::new()
    } else {
        // `null` is what Flipt writes for no metadata.
        serde_json::from_str::<Option<BTreeMap<String, String>>>(&metadata)
            .map_err(|error| StoreError::Content(format!("metadata of credentials: {error}")))?
            .unwrap_or_default()
    };
    Ok(pb::Authentication {
        id: row.text(0)?,
        method: row.int32(1)?,
        metadata: metadata.into_iter().collect(),
        expires_at: row.optional_time(3)?.map(from_unix_micros),
        created_at: Some(from_unix_micros(row.time(4)?)),
        updated_at: Some(from_unix_micros(row.time(5)?)),
    })
}

async fn get(transaction: &mut Transaction, id: &str) -> Result<Option<pb::Authentication>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM authentications WHERE id = ?");
    transaction.fetch_optional(&sql, params![id]).await?.as_ref().map(from_row).transpose()
}

async fn insert(
    transaction: &mut Transaction,
    new: &NewAuthentication,
    now: i64,
) -> Result<pb::Authentication, StoreError> {
    let taken = "SELECT 1 FROM authentications WHERE hashed_client_token = ?";
    if transaction.exists(taken, params![&new.token_hash]).await? {
        return Err(StoreError::Invalid("the token is in use already".to_owned()));
    }
    let id = new_id();
    let metadata = serde_json::to_string(&new.metadata)
        .map_err(|error| StoreError::Content(format!("metadata of credentials: {error}")))?;
    transaction
        .execute(
            "INSERT INTO authentications
               (id, hashed_client_token, method, metadata, expires_at, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            &[
                (&id).into(),
                (&new.token_hash).into(),
                (new.method as i32).into(),
                metadata.into(),
                new.expires_at.map_or(Param::Null, Param::Time),
                Param::Time(now),
                Param::Time(now),
            ],
        )
        .await?;
    get(transaction, &id)
        .await?
        .ok_or_else(|| StoreError::Content("credentials vanished while being created".to_owned()))
}

/// Changes credentials in one transaction, of several servers one at a time; moves their revision if the
/// operation says that it changed something. Nobody else in this process moves it meanwhile.
macro_rules! changed {
    ($store:expr, |$transaction:ident| $operation:expr) => {
        retried!({
            let _guard = in_turn($store.shared.writing.credentials_lock.lock()).await?;
            let mut begun = $store.database.write().await?;
            let state::Locked { version: head, written_at, .. } =
                state::lock_row(&mut begun, CREDENTIALS).await?;
            $store.shared.writing.clock.observe(written_at);
            let $transaction = &mut begun;
            let (answer, changed) = $operation.await?;
            $store.commit_credentials(begun, head, changed).await?;
            Ok(answer)
        })
    };
}

impl SqlStore {
    /// Learns of changes of credentials by other servers, if the version that was read from the database tells of
    /// any.
    pub(crate) async fn catch_up_with_credentials(&self, recorded: &Version) -> Result<(), StoreError> {
        let writing = &self.shared.writing;
        if *recorded == **writing.credentials.load() {
            return Ok(());
        }
        // It may be that of before a change of our own, which must not be forgotten: look again when none is under
        // way.
        let _guard = writing.credentials_lock.lock().await;
        let place = Place::of(CREDENTIALS);
        let version = looked_up!(self.database, |transaction| state::version(transaction, &place))?;
        writing.credentials.store(Arc::new(version));
        Ok(())
    }

    async fn commit_credentials(
        &self,
        mut transaction: Transaction,
        head: Version,
        changed: bool,
    ) -> Result<(), StoreError> {
        if !changed {
            return transaction.commit().await;
        }
        let version = Version { revision: head.revision + 1, ..head };
        let now = self.shared.writing.clock.now();
        state::set_revision(&mut transaction, CREDENTIALS, version.revision, now).await?;
        transaction.commit().await?;
        self.shared.writing.credentials.store(Arc::new(version));
        Ok(())
    }
}

async fn insert_first(
    transaction: &mut Transaction,
    new: &NewAuthentication,
    now: i64,
) -> Result<(Option<pb::Authentication>, bool), StoreError> {
    let any = "SELECT 1 FROM authentications WHERE method = ?";
    if transaction.exists(any, params![new.method as i32]).await? {
        return Ok((None, false));
    }
    Ok((Some(insert(transaction, new, now).await?), true))
}

/// Runs a statement that changes credentials; gives how many it changed, and whether any.
async fn change(
    transaction: &mut Transaction,
    sql: &str,
    params: &[Param],
) -> Result<(u64, bool), StoreError> {
    let changed = transaction.execute(sql, params).await?;
    Ok((changed, changed > 0))
}

#[async_trait]
impl AuthenticationStore for SqlStore {
    fn revision(&self) -> String {
        let Version { epoch, revision } = &**self.shared.writing.credentials.load();
        format!("{epoch}/{revision}")
    }

    async fn create_authentication(&self, new: &NewAuthentication) -> Result<pb::Authentication, StoreError> {
        let now = self.shared.writing.clock.now();
        changed!(self, |transaction| insert(transaction, new, now).map_ok(|created| (created, true)))
    }

    async fn create_first_authentication(
        &self,
        new: &NewAuthentication,
    ) -> Result<Option<pb::Authentication>, StoreError> {
        let now = self.shared.writing.clock.now();
        changed!(self, |transaction| insert_first(transaction, new, now))
    }

    async fn find_authentication(
        &self,
        token_hash: &str,
    ) -> Result<Option<(pb::Authentication, String)>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM authentications WHERE hashed_client_token = ?");
        let row =
            looked_up!(self.database, |transaction| transaction.fetch_optional(&sql, params![token_hash]))?;
        row.map(|row| Ok((from_row(&row)?, row.text(6)?))).transpose()
    }

    async fn get_authentication(&self, id: &str) -> Result<Option<pb::Authentication>, StoreError> {
        looked_up!(self.database, |transaction| get(transaction, id))
    }

    async fn list_authentications(
        &self,
        page: AuthenticationPage,
    ) -> Result<(Vec<pb::Authentication>, bool), StoreError> {
        let (filter, method): (_, &[Param]) =
            if page.method == 0 { ("", &[]) } else { ("WHERE method = ?", params![page.method]) };
        // One more than asked for tells whether more follow.
        let limit = u64::from(page.limit) + 1;
        // Beyond what a database counts with there is nothing either.
        let offset = page.offset.min(i64::MAX.unsigned_abs());
        let sql = format!(
            "SELECT {COLUMNS} FROM authentications {filter} ORDER BY created_at, id LIMIT {limit} OFFSET {offset}"
        );
        let rows = looked_up!(self.database, |transaction| transaction.fetch_all(&sql, method))?;
        let mut list = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
        let wanted = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = list.len() > wanted;
        list.truncate(wanted);
        Ok((list, more))
    }

    async fn delete_authentication(&self, id: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM authentications WHERE id = ?";
        changed!(self, |transaction| change(transaction, sql, params![id])).map(drop)
    }

    async fn expire_authentication(&self, id: &str, expires_at: i64) -> Result<(), StoreError> {
        let sql = "UPDATE authentications SET expires_at = ? WHERE id = ?";
        let values = [Param::Time(expires_at), id.into()];
        changed!(self, |transaction| change(transaction, sql, &values)).map(drop)
    }

    async fn delete_expired_authentications(
        &self,
        method: pb::Method,
        before: i64,
    ) -> Result<u64, StoreError> {
        let sql =
            "DELETE FROM authentications WHERE method = ? AND expires_at IS NOT NULL AND expires_at < ?";
        let values = [(method as i32).into(), Param::Time(before)];
        changed!(self, |transaction| change(transaction, sql, &values))
    }

    async fn acquire_operation(
        &self,
        operation: &str,
        now: i64,
        until: i64,
    ) -> Result<(bool, i64), StoreError> {
        // The credentials themselves stay as they are.
        changed!(self, |transaction| acquire(transaction, operation, now, until).map_ok(|held| (held, false)))
    }
}

async fn acquire(
    transaction: &mut Transaction,
    operation: &str,
    now: i64,
    until: i64,
) -> Result<(bool, i64), StoreError> {
    let sql = "SELECT version, acquired_until FROM operation_lock WHERE operation = ?";
    let Some(held) = transaction.fetch_optional(sql, params![operation]).await? else {
        let sql = "INSERT INTO operation_lock (operation, version, last_acquired_at, acquired_until)
                   VALUES (?, 1, ?, ?)";
        let inserted =
            transaction.execute(sql, &[operation.into(), Param::Time(now), Param::Time(until)]).await?;
        return Ok((inserted == 1, until));
    };
    let held_until = held.optional_time(1)?.unwrap_or_default();
    if held_until > now {
        return Ok((false, held_until));
    }
    let version = held.int(0)?;
    // Guarded by the version, so that a server of Flipt beside this one may race with it.
    let sql = "UPDATE operation_lock SET version = ?, last_acquired_at = ?, acquired_until = ?
               WHERE operation = ? AND version = ?";
    let changed = transaction
        .execute(
            sql,
            &[(version + 1).into(), Param::Time(now), Param::Time(until), operation.into(), version.into()],
        )
        .await?;
    Ok((changed == 1, until))
}
