//! Overrides: an owned flag is switched in an emergency, for a limited time.

use std::{
    future::Future,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use flipt_model::ownership::{EditableField, Resource};
use tokio::time::{sleep, timeout};

use super::{
    Managed, OverrideState, ResourceName, Switch,
    apply::load,
    claims::{self, Held},
    list::managed,
};
use crate::{
    SqlStore, StoreError,
    changes::Touched,
    database::Param,
    writer::{Writer, looked_up, written},
};

/// How often is looked for overrides that ended, at least: other servers begin them too.
const LOOK: Duration = Duration::from_secs(5);
/// Shortest pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Switches an owned flag, or changes the override in force.
pub(super) async fn begin(
    writer: &mut Writer,
    named: &ResourceName,
    switch: &Switch,
) -> Result<Managed, StoreError> {
    writer.force();
    let mut held = owned(writer, named).await?;
    if held.claim.editable.contains(&EditableField::Enabled) {
        return Err(StoreError::Precondition(format!(
            "{named} leaves its switch to the UI: change the flag itself"
        )));
    }
    let name = held.name.clone();
    let Some(Resource::Flag(flag)) = load(writer, &name).await? else {
        return Err(StoreError::NotFound(named.to_string()));
    };
    let owner_enabled = held.held.as_ref().map_or(flag.enabled, |held| held.owner_enabled);
    held.held = Some(OverrideState {
        enabled: switch.enabled,
        owner_enabled,
        user: switch.user.clone(),
        reason: switch.reason.clone(),
        until: writer.now() + switch.seconds.saturating_mul(1_000_000),
    });
    claims::put(writer, &held, true).await?;
    set_enabled(writer, &name, switch.enabled).await?;
    let actual = load(writer, &name).await?;
    Ok(managed(named.clone(), held, actual.as_ref()))
}

/// Ends the override of a flag, if one is in force.
pub(super) async fn end(writer: &mut Writer, named: &ResourceName) -> Result<Managed, StoreError> {
    writer.force();
    let held = owned(writer, named).await?;
    let held = restore(writer, held).await?;
    let actual = load(writer, &held.name).await?;
    Ok(managed(named.clone(), held, actual.as_ref()))
}

/// The claim of a flag that must be owned.
async fn owned(writer: &mut Writer, named: &ResourceName) -> Result<Held, StoreError> {
    let name = named.touched(writer.place());
    if let Some(held) = claims::find(&mut writer.transaction, &name).await? {
        return Ok(held);
    }
    if load(writer, &name).await?.is_none() {
        return Err(StoreError::NotFound(named.to_string()));
    }
    Err(StoreError::Precondition(format!("{named} is not managed: change the flag itself")))
}

/// Gives a flag the value that its owner wants.
async fn restore(writer: &mut Writer, mut held: Held) -> Result<Held, StoreError> {
    if let Some(over) = held.held.take() {
        let name = held.name.clone();
        claims::put(writer, &held, true).await?;
        set_enabled(writer, &name, over.owner_enabled).await?;
    }
    Ok(held)
}

async fn set_enabled(writer: &mut Writer, name: &Touched, enabled: bool) -> Result<(), StoreError> {
    let now = Param::Time(writer.now());
    let sql = r#"UPDATE flags SET enabled = ?, updated_at = ? WHERE namespace_key = ? AND "key" = ?"#;
    let values = [enabled.into(), now, name.namespace().into(), name.resource().into()];
    writer.transaction.execute(sql, &values).await?;
    writer.touch(name.clone());
    Ok(())
}

/// Ends the overrides whose time is over, and tells which.
async fn end_expired(writer: &mut Writer) -> Result<Vec<(ResourceName, OverrideState)>, StoreError> {
    writer.force();
    let now = writer.now();
    let place = writer.place().clone();
    let mut ended = Vec::new();
    for held in claims::expired(&mut writer.transaction, &place, now).await? {
        let Some(over) = held.held.clone() else { continue };
        ended.push((ResourceName::of_touched(&held.name, &place), over));
        restore(writer, held).await?;
    }
    Ok(ended)
}

impl SqlStore {
    /// Ends overrides in time, until told to stop. Every server on a database does: whoever comes second finds
    /// nothing to do.
    pub(crate) async fn end_overrides(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut revisions = self.revisions();
        loop {
            let pause = match self.end_overrides_once().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::debug!(error = %error, "overrides cannot be ended now");
                    LOOK
                }
            };
            // A change may be an override that ends sooner.
            let waiting = async {
                sleep(PAUSE.min(pause)).await;
                let _ = timeout(pause.saturating_sub(PAUSE), revisions.changed()).await;
            };
            tokio::select! {
                () = &mut stop => return,
                () = waiting => {}
            }
        }
    }

    /// Ends the overrides whose time is over; gives how long to wait for the next.
    async fn end_overrides_once(&self) -> Result<Duration, StoreError> {
        let next = looked_up!(self.database, |transaction| claims::next_end(transaction, self.place()))?;
        let Some(next) = next else { return Ok(LOOK) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let end = Duration::from_micros(next.unsigned_abs());
        if end > now {
            return Ok(LOOK.min(end - now));
        }
        let (ended, _) = written!(self, |writer| end_expired(writer))?;
        for (flag, over) in ended {
            tracing::info!(
                environment = self.place().row,
                namespace = flag.namespace,
                flag = flag.key,
                user = over.user,
                enabled = over.owner_enabled,
                "override ended: its time is over"
            );
        }
        Ok(Duration::ZERO)
    }
}
