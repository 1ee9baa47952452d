//! The shop as a program.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use shop_notifications::Delivery;
use shop_notifications::smtp::Smtp;
use shop_provider::Provider;
use shop_system::roles::{self, GATEWAY, PROVIDER, SERVICES};
use shop_system::{Settings, ShopSettings, services};
use wingbeat::describe::{Info, System};
use wingbeat::http::session::Sessions;
use wingbeat::http::traced;
use wingbeat::run::{Alone, Command, Program, Roles, RunError, open, private_directory};
use wingbeat::{App, BoxFuture, Name, Ports, TokioRuntime};

use super::shop::{Open, Shared, Shop};
use super::{prepare, routes};
use crate::across::docs;

/// Starts the whole shop in one process.
///
/// # Errors
///
/// The reason why it does not start.
pub async fn start(settings: &Settings) -> Result<Open, RunError> {
    open(Shop::default(), settings.clone(), roles_of(settings)).await
}

/// The service that starts sessions.
const ISSUER: &str = "identity";

/// The name of the provider's ledger in the data directory.
const LEDGER: &str = "provider.db";

/// Returns whether the stand-in for the payment company runs in this process.
fn runs_provider(settings: &Settings, roles: &Roles) -> bool {
    roles.has(PROVIDER) && settings.own.provider.is_none()
}

/// Returns the roles of the whole shop. The stand-in runs unless a provider is set.
fn roles_of(settings: &Settings) -> Roles {
    let mut roles = roles::whole();
    if settings.own.provider.is_some() {
        roles.others.remove(PROVIDER);
    }
    roles
}

impl Program for Shop {
    type Own = ShopSettings;
    type State = Shared;

    fn name(&self) -> &'static str {
        "shop"
    }

    fn about(&self) -> &'static str {
        "An online shop of ten services that exchange events, all in one process"
    }

    fn services(&self, _: &Settings) -> Vec<&'static str> {
        SERVICES.into()
    }

    fn roles(&self) -> &'static [&'static str] {
        &[GATEWAY, PROVIDER]
    }

    fn signing_roles(&self) -> &'static [&'static str] {
        &[GATEWAY]
    }

    fn commands(&self) -> Vec<Command> {
        (self.commands)()
    }

    fn check(&self, settings: &Settings, roles: &Roles) -> Result<(), RunError> {
        roles::check(settings, roles)?;
        mails(settings, roles).map(drop)
    }

    fn alone(
        &self,
        settings: &Settings,
        roles: &Roles,
    ) -> Option<BoxFuture<'static, Result<Alone, RunError>>> {
        let only_provider = roles.services.is_empty() && roles.others == [PROVIDER].into();
        let settings = only_provider.then(|| settings.clone())?;
        Some(Box::pin(async move {
            let provider = provider(&settings, settings.listen).await?;
            Ok(Alone {
                ready: format!("The provider is open: {}", provider.url()),
                keep: Box::new(provider),
            })
        }))
    }

    /// The provider's ledger and the payments of the orders must not contradict each other.
    fn files(&self, settings: &Settings, roles: &Roles) -> Vec<&'static str> {
        if runs_provider(settings, roles) {
            vec![LEDGER]
        } else {
            Vec::new()
        }
    }

    async fn begin(
        &self,
        settings: &Settings,
        roles: &Roles,
        ports: &Ports,
    ) -> Result<Shared, RunError> {
        let mails = mails(settings, roles)?;
        if let (Delivery::Smtp(_), Some(server)) = (&mails, &settings.own.smtp) {
            server.warn_if_exposed().await;
        }
        let sessions = Sessions::new(Arc::clone(&ports.cache), Arc::clone(&ports.runtime))
            .with_only_secure_cookies(settings.own.secure_cookies);
        let sessions = match &settings.trust {
            Some(files) => {
                let trust = files.read()?;
                sessions.with_issuer(Arc::clone(trust.signatures()), Name::new(ISSUER))
            }
            None => sessions,
        };
        // The stand-in is an outside company: it is reached over a real socket.
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let provider = if runs_provider(settings, roles) {
            Some(provider(settings, loopback).await?)
        } else {
            None
        };
        let provider_url = match &provider {
            Some(provider) => provider.url(),
            None => routes::elsewhere(settings, PROVIDER),
        };
        Ok(Shared {
            sessions,
            provider,
            provider_url,
            mails,
        })
    }

    fn system(&self, settings: &Settings, roles: &Roles, shared: &Shared) -> App {
        let Shared {
            sessions,
            provider_url,
            mails,
            ..
        } = shared;
        services::system(settings, roles, sessions, provider_url, mails)
    }

    async fn routes(&self, process: &Open) -> Result<Router, RunError> {
        Ok(routes::of(process).await?)
    }

    async fn prepare(&self, process: &Open) -> Result<Vec<String>, RunError> {
        let (host, settings) = (&process.host, &process.settings);
        let recovered = prepare::in_flight(host).await?;
        let password = prepare::ensure_admin(host, settings).await?;
        let mut seeds_are_new = false;
        if process.roles.has("catalog") {
            seeds_are_new = prepare::seed(host).await?;
        }
        if !process.roles.whole {
            return Ok(Vec::new());
        }
        prepare::settle(host, seeds_are_new).await;
        Ok(vec![
            admin_line(settings, password.as_deref()),
            format!("Orders in flight:     {recovered} recovered"),
        ])
    }

    fn contracts(&self) -> Option<(System, Info)> {
        Some(docs::contracts(&services::described()))
    }

    fn greeting(&self, process: &Open) -> Vec<String> {
        let address = process.address;
        if !process.roles.whole {
            let name = process.roles.name(self.name());
            return vec![format!("{name} is open: http://{address}/")];
        }
        let mut lines = vec![
            format!("The shop is open:     http://{address}/"),
            format!("Its API:              http://{address}/openapi.json"),
        ];
        if let Some(ops) = process.ops_address {
            lines.push(format!("Metrics:              http://{ops}/metrics"));
        }
        lines
    }
}

/// Returns the delivery of mails: by the mail server of the settings, else into the mailbox.
fn mails(settings: &Settings, roles: &Roles) -> Result<Delivery, RunError> {
    let own = &settings.own;
    let Some(server) = own.smtp.as_ref().filter(|_| roles.has("notifications")) else {
        return Ok(Delivery::Mailbox);
    };
    let smtp = Smtp::new(server.clone(), own.mail_from.clone(), &settings.tls)?;
    Ok(Delivery::Smtp(smtp))
}

/// Describes the administrator's login. The password is shown on a terminal only.
fn admin_line(settings: &Settings, password: Option<&str>) -> String {
    let email = shop_identity::ADMIN_EMAIL;
    let login = match password {
        Some(password) if std::io::stdout().is_terminal() => format!("{email} / {password}"),
        Some(_) => {
            let file = settings.data.join("admin-password");
            format!("{email}, password in {}", file.display())
        }
        None => email.to_owned(),
    };
    format!("The admin:            {login}")
}

/// Starts the stand-in for the payment company. It does not use Wingbeat; a layer around it adds
/// its responses to our traces.
async fn provider(settings: &Settings, listen: SocketAddr) -> Result<Provider, RunError> {
    let data = &settings.data;
    private_directory(data).map_err(|why| RunError::File(data.display().to_string(), why))?;
    let ledger = data.join(LEDGER);
    let config = shop_provider::Config { listen, ledger };
    let runtime = TokioRuntime::new();
    let started = shop_provider::start_within(config, |routes| traced(routes, PROVIDER, runtime));
    let started = started.await;
    started.map_err(|why| RunError::Program(why.to_string()))
}
