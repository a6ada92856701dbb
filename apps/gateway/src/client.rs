//! What both ways to a broker are told alike: where it is, who we are, and how long neither side may be silent.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use stage::params::{Address, ParamError};
use stage::{Kind, Parameter, Params, Setup, SetupError};

use crate::secret::credentials;

/// The port of MQTT without TLS.
const PORT: u16 = 1883;

/// `broker=`.
pub const BROKER: Parameter = Parameter::new(
    "broker",
    Kind::Text,
    "",
    "the MQTT 5 broker: HOST[:PORT], 1883 without a port",
);

/// `client-id=`.
pub const CLIENT_ID: Parameter = Parameter::new(
    "client-id",
    Kind::Text,
    "",
    "the client identifier; grantflow-STAGE without",
);

/// `keep-alive=`.
pub const KEEP_ALIVE: Parameter = Parameter::new(
    "keep-alive",
    Kind::Duration,
    "30s",
    "how long neither side may be silent; whole seconds, 0 for no limit",
);

/// User name and password.
pub type Credentials = (String, Vec<u8>);

/// The value of `broker=`.
pub fn broker(params: &Params<'_>) -> Result<Address, ParamError> {
    let text: &str = params.require("broker")?;
    Address::parse(text, Some(PORT)).ok_or_else(|| {
        let expected = "HOST or HOST:PORT, an IPv6 address with a port in brackets";
        ParamError::bad("broker", text, expected)
    })
}

/// The value of `client-id=`, or what the stage's name makes of it; `app` is the name of a stage that was given none.
pub fn client_id(params: &Params<'_>, app: &str) -> String {
    match params.text("client-id") {
        Some(id) => id.into(),
        None => format!("grantflow-{}", params.text("stage").unwrap_or(app)),
    }
}

/// User name and password of the module's `secret`.
pub fn secret(setup: &Setup<'_>) -> Result<Option<Credentials>, SetupError> {
    setup.module.secret.map(credentials).transpose()
}

/// The value of `keep-alive=`, in seconds.
pub fn keep_alive(params: &Params<'_>) -> Result<u16, ParamError> {
    let seconds = seconds(params, "keep-alive")?;
    u16::try_from(seconds).map_err(|_| bad_seconds(params, "keep-alive", "at most 65535"))
}

/// A span in whole seconds.
pub fn seconds(params: &Params<'_>, key: &str) -> Result<u32, ParamError> {
    let span: Duration = params.require(key)?;
    let seconds = u32::try_from(span.as_secs()).ok();
    let whole = seconds.filter(|_| span.subsec_nanos() == 0);
    whole.ok_or_else(|| bad_seconds(params, key, "at most 4294967295"))
}

fn bad_seconds(params: &Params<'_>, key: &str, most: &str) -> ParamError {
    let text = params.text(key).unwrap_or_default();
    ParamError::bad(key, text, &format!("whole seconds, {most}"))
}
