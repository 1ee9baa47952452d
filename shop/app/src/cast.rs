//! Who plays in a process: all services, or some, the gateway, the provider.

use std::collections::BTreeSet;

pub use shop_registry::NAMES as SERVICES;

use crate::Settings;

/// Who plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// These services.
    pub services: BTreeSet<&'static str>,
    /// The public port.
    pub gateway: bool,
    /// The stand-in for the payment company.
    pub provider: bool,
    /// Everything in one process: nothing is asked for over HTTP but the provider.
    pub whole: bool,
}

/// Why such a process cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Nobody is called so.
    #[error("there is no service {0:?}; there are: {all}, gateway, provider", all = SERVICES.join(", "))]
    Unknown(String),
    /// Services by themselves meet on servers.
    #[error("services that run by themselves need --broker, --store and --cache")]
    NoServers,
    /// There is no payment company.
    #[error("payments needs --provider (or --dev, for the stand-in)")]
    NoProvider,
    /// There is nobody to carry mail.
    #[error(
        "notifications keeps its mails in the mailbox of --dev; this release sends none by SMTP"
    )]
    NoMail,
    /// A password has to be chosen.
    #[error("identity needs SHOP_ADMIN_PASSWORD (or --dev)")]
    NoPassword,
}

impl Cast {
    /// The whole shop in one process.
    #[must_use]
    pub fn whole(settings: &Settings) -> Self {
        Self {
            services: SERVICES.into(),
            gateway: true,
            provider: settings.provider.is_none(),
            whole: true,
        }
    }

    /// Those with these names.
    ///
    /// # Errors
    ///
    /// What they need and the settings do not say.
    pub fn of(names: &[String], settings: &Settings) -> Result<Self, Error> {
        let mut cast = Self {
            services: BTreeSet::new(),
            gateway: false,
            provider: false,
            whole: false,
        };
        for name in names {
            match SERVICES.iter().find(|service| *service == name) {
                Some(service) => drop(cast.services.insert(service)),
                None if name == "gateway" => cast.gateway = true,
                None if name == "provider" => cast.provider = true,
                None => return Err(Error::Unknown(name.clone())),
            }
        }
        cast.check(settings)?;
        Ok(cast)
    }

    fn check(&self, settings: &Settings) -> Result<(), Error> {
        let has = |service| self.services.contains(service);
        let works = self.gateway || !self.services.is_empty();
        if works && settings.servers.is_none() {
            return Err(Error::NoServers);
        }
        if settings.dev {
            return Ok(());
        }
        if has("payments") && settings.provider.is_none() && !self.provider {
            return Err(Error::NoProvider);
        }
        if has("notifications") {
            return Err(Error::NoMail);
        }
        if has("identity") && settings.admin_password.is_none() {
            return Err(Error::NoPassword);
        }
        Ok(())
    }

    /// The provider and nobody else.
    #[must_use]
    pub fn is_provider(&self) -> bool {
        self.provider && !self.gateway && self.services.is_empty()
    }

    /// Whether callers come through a gateway that is another process, and it says who they are.
    #[must_use]
    pub fn is_behind_gateway(&self) -> bool {
        !self.gateway
    }

    /// What the broker shows as the name of the process.
    #[must_use]
    pub fn name(&self) -> String {
        let gateway = self.gateway.then_some("gateway");
        let names: Vec<&str> = self.services.iter().copied().chain(gateway).collect();
        if self.whole {
            "shop".into()
        } else {
            names.join("+")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Servers;

    fn settings(dev: bool) -> Settings {
        let url = String::new;
        Settings {
            dev,
            servers: Some(Servers {
                broker: url(),
                store: url(),
                cache: url(),
            }),
            ..Settings::default()
        }
    }

    fn of(names: &[&str], settings: &Settings) -> Result<Cast, Error> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Cast::of(&names, settings)
    }

    #[test]
    fn a_cast_is_told_by_name() {
        let cast = of(&["orders", "gateway"], &settings(false)).unwrap();
        assert_eq!(
            (cast.gateway, cast.name().as_str()),
            (true, "orders+gateway")
        );
        assert!(matches!(
            of(&["order"], &settings(true)),
            Err(Error::Unknown(_))
        ));
        assert!(
            of(&["provider"], &Settings::default())
                .unwrap()
                .is_provider()
        );
    }

    #[test]
    fn only_services_without_a_gateway_of_their_own_are_told_who_calls() {
        let settings = settings(true);
        assert!(of(&["identity"], &settings).unwrap().is_behind_gateway());
        let both = of(&["identity", "gateway"], &settings).unwrap();
        assert!(!both.is_behind_gateway());
        assert!(!Cast::whole(&settings).is_behind_gateway());
    }

    #[test]
    fn what_is_missing_is_told_before_anything_starts() {
        assert_eq!(of(&["orders"], &Settings::default()), Err(Error::NoServers));
        assert_eq!(of(&["payments"], &settings(false)), Err(Error::NoProvider));
        assert_eq!(of(&["notifications"], &settings(false)), Err(Error::NoMail));
        assert_eq!(of(&["identity"], &settings(false)), Err(Error::NoPassword));
        assert!(of(&SERVICES, &settings(true)).is_ok());
    }
}
