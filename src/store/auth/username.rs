//! Names of accounts.

use std::borrow::Cow;

/// The name of an account that can exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(Cow<'static, str>);

impl Username {
    /// The one account there is.
    pub const ADMIN: &str = "admin";

    /// The admin.
    #[must_use]
    pub fn admin() -> Self {
        Self(Cow::Borrowed(Self::ADMIN))
    }

    /// The account of that name; `None` where none can exist.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text == Self::ADMIN).then(Self::admin)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
