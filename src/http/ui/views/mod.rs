//! Views of the page: each reads its data and renders one fragment of HTML.

pub(crate) mod fragment;
pub(crate) mod health;
pub(crate) mod message;
pub(crate) mod messages;
pub(crate) mod overview;
pub(crate) mod parts;
pub(crate) mod rows;
pub(crate) mod search;
