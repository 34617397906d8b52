//! The settings of a jail as its agent reports them, in the form in which an undo compares them.

use crate::agent::client::JailView;
use crate::domain::undo::SettingsSeen;

/// The settings in force.
pub(super) fn in_force(view: &JailView) -> SettingsSeen<'_> {
    SettingsSeen {
        bantime: view.bantime,
        findtime: view.findtime,
        maxretry: view.maxretry,
        ignoreip: &view.ignoreip,
    }
}

/// The settings in the files.
pub(super) fn in_files(view: &JailView) -> Option<SettingsSeen<'_>> {
    let files = view.in_files.as_ref()?;
    Some(SettingsSeen {
        bantime: files.bantime,
        findtime: files.findtime,
        maxretry: files.maxretry,
        ignoreip: &files.ignoreip,
    })
}
