//! Sign-ups, sessions, passwords and erasures.

use serde_json::{Value, json};
use shop_identity::ADMIN_EMAIL;

use super::{Inspector, Visitor, call, get};

const PASSWORD: &str = "nine wet umbrellas";

/// Addresses that are none, or look like others. The first ones are for other letters, the last
/// ones for a domain in disguise.
const WRONG: [&str; 30] = [
    "",
    "a",
    "@b.example",
    "a@",
    "a@b",
    "a b@c.example",
    "a@b..example",
    "a@-b.example",
    "a@b-.example",
    "a@b_c.example",
    "a@.example",
    "a@example.",
    ".a@b.example",
    "a.@b.example",
    "a..b@c.example",
    "a(b@c.example",
    "a@b@c.example",
    "a@b.example\r\nBcc: x@y.example",
    "admin@ſhop.example",
    "ａｄｍｉｎ@shop.example",
    "аdmin@shop.example",
    "admin@ѕhop.example",
    "ѕсоре@shop.example",
    "admın@shop.example",
    "admin\u{3164}@shop.example",
    "ad\u{ad}min@shop.example",
    "admin@shop\u{3002}example.org",
    "ﬁne@shop.example",
    "admin@xn--hop-iva.example",
    "aΩ\u{344}@b.example",
];

/// Addresses that people have.
const RIGHT: [&str; 6] = [
    "Ada.L+shop@Mail.b-c.example",
    "o'brien_1@b.example",
    "иван@пример.example",
    "jörg@straße.example",
    "a@xn--fiqs8s.example",
    "x@9.example",
];

/// An address, a name and a password that does not go with them.
const WEAK: [(&str, &str, &str); 12] = [
    ("weak@b.example", "Ada", "zq8#kvw"),
    ("weak@b.example", "Ada", "password1"),
    ("weak@b.example", "Ada", "PASSWORD1"),
    ("weak@b.example", "Ada", "  password1  "),
    ("weak@b.example", "Ada", "          "),
    ("weak@b.example", "Ada", "so weak@b.example"),
    ("mary.stone@b.example", "Ada", "stonewall-77"),
    ("mary+shop@b.example", "Ada", "window shopping"),
    ("mary@pear.example", "Ada", "my pear.example"),
    ("weak@b.example", "Grace Hopper", "HOPPER of grain"),
    ("weak@b.example", "Anna", "hannah 9917 q"),
    ("weak@b.example", "Ｌｉｌｙａ", "old lilya 9917"),
];

fn form(email: &str, password: &str, name: &str) -> Value {
    json!({ "email": email, "password": password, "name": name })
}

impl Inspector {
    pub(super) async fn accounts(&mut self) {
        self.addresses().await;
        self.sign_ups().await;
        self.sessions().await;
        self.erasures().await;
    }

    async fn registers(&mut self, form: Value) {
        let mut nobody = self.stranger();
        self.gets(&mut nobody, call("POST", "/users", form), 201)
            .await;
    }

    async fn cannot_register(&mut self, form: Value, pointer: &str) {
        let mut nobody = self.stranger();
        self.rejects(&mut nobody, call("POST", "/users", form), pointer)
            .await;
    }

    async fn is_taken(&mut self, email: &str) {
        let mut nobody = self.stranger();
        let ask = call("POST", "/users", form(email, PASSWORD, "Ada"));
        self.refuses(&mut nobody, ask, 409, "email_taken").await;
    }

    async fn addresses(&mut self) {
        let label = "b".repeat(63);
        let local = "a".repeat(64);
        let longest = format!("{local}@{label}.{label}.{}", "c".repeat(61));
        for email in RIGHT.into_iter().chain([longest.as_str()]) {
            self.registers(form(email, PASSWORD, "Ada")).await;
        }
        let too_long = [
            format!("a{local}@b.example"),
            format!("a@b{label}.example"),
            format!("{local}@{label}.{label}.{}", "c".repeat(62)),
        ];
        for email in WRONG.into_iter().chain(too_long.iter().map(String::as_str)) {
            self.cannot_register(form(email, PASSWORD, "Ada"), "/email")
                .await;
        }
        for email in [
            "ada.l+SHOP@mail.B-C.example",
            "JÖRG@xn--strae-oqa.example",
            "Admin@Shop.example",
            ADMIN_EMAIL,
        ] {
            self.is_taken(email).await;
        }
    }

    async fn sign_ups(&mut self) {
        for (email, name, password) in WEAK {
            self.cannot_register(form(email, password, name), "/password")
                .await;
        }
        let long = "zq8#kvwy".repeat(16);
        self.cannot_register(
            form("weak@b.example", &format!("{long}z"), "Ada"),
            "/password",
        )
        .await;
        self.registers(form("strong.1@b.example", &long, "Ada"))
            .await;
        self.registers(form("strong.2@b.example", "zq8#kvwy", "Ada"))
            .await;
        self.registers(form("strong.3@b.example", "ada, or bob 1", "Ada Bob"))
            .await;
        let (longest, longer) = ("n".repeat(100), "n".repeat(101));
        for name in ["", "  ", "Ada\r\nBcc: x", "Ada\u{202e}x", &longer] {
            self.cannot_register(form("weak@b.example", PASSWORD, name), "/name")
                .await;
        }
        self.registers(form("strong.4@b.example", PASSWORD, &longest))
            .await;
    }

    /// Signs in, and expects an account or a refusal.
    async fn enters(&mut self, who: &mut Visitor, password: &str, is_right: bool) {
        let ask = call(
            "POST",
            "/sessions",
            json!({ "email": who.email, "password": password }),
        );
        let mut door = self.stranger();
        if !is_right {
            self.refuses(&mut door, ask, 401, "invalid_credentials")
                .await;
            return;
        }
        let session = self.gets(&mut door, ask, 201).await;
        who.token = session["token"].as_str().unwrap_or_default().into();
    }

    async fn sessions(&mut self) {
        let mut ada = self.stranger();
        ada.email = "Ada.Session@b.example".into();
        self.registers(form(&ada.email, PASSWORD, "  Ada  ")).await;
        self.enters(&mut ada, "nine wet umbrella", false).await;
        self.enters(&mut ada, PASSWORD, true).await;
        let mut nobody = self.stranger();
        for email in ["nobody@b.example", "no address", ""] {
            nobody.email = email.into();
            self.enters(&mut nobody, PASSWORD, false).await;
        }
        let me = self.gets(&mut ada, get("/me"), 200).await;
        self.equal("the address", &me["email"], &json!(ada.email));
        self.equal("the name", &me["name"], &json!("Ada"));
        self.refuses(&mut nobody, get("/me"), 401, "unauthenticated")
            .await;
        let mut other = ada.clone();
        self.enters(&mut other, PASSWORD, true).await;

        let change = |current: &str, new: &str| {
            call(
                "PUT",
                "/me/password",
                json!({ "current": current, "new": new }),
            )
        };
        let new = "ten dry umbrellas";
        self.rejects(&mut ada, change(PASSWORD, "short"), "/new")
            .await;
        self.rejects(&mut ada, change(PASSWORD, "my ada.session"), "/new")
            .await;
        self.refuses(&mut ada, change("wrong", new), 403, "wrong_password")
            .await;
        self.gets(&mut ada, change(PASSWORD, new), 204).await;
        self.gets(&mut ada, get("/me"), 200).await;
        self.refuses(&mut other, get("/me"), 401, "unauthenticated")
            .await;
        self.enters(&mut other, PASSWORD, false).await;
        self.enters(&mut other, new, true).await;
        self.gets(
            &mut other,
            call("DELETE", "/sessions/current", Value::Null),
            204,
        )
        .await;
        self.refuses(&mut other, get("/me"), 401, "unauthenticated")
            .await;
        self.gets(&mut ada, get("/me"), 200).await;
    }

    async fn erasures(&mut self) {
        let mut ada = self.visitor().await;
        let (password, email) = (ada.password.clone(), ada.email.clone());
        let erase = |password: &str| call("DELETE", "/me", json!({ "password": password }));
        let mut other = ada.clone();
        self.enters(&mut other, &password, true).await;
        let put = call("PUT", "/cart/items/TEA-1", json!({ "quantity": 2 }));
        self.gets(&mut ada, put, 200).await;
        let items = json!([{ "sku": "CUP-1", "quantity": 1 }]);
        self.gets(&mut ada, super::ordering::order(items, "erased"), 202)
            .await;
        self.idle().await;
        self.refuses(&mut ada, erase("wrong"), 403, "wrong_password")
            .await;
        let admin = self.admin.password.clone();
        self.refuses_admin(erase(&admin), 403, "forbidden").await;
        self.gets(&mut ada, erase(&password), 202).await;
        self.refuses(&mut ada, get("/me"), 401, "unauthenticated")
            .await;
        self.refuses(&mut other, get("/me"), 401, "unauthenticated")
            .await;
        self.enters(&mut other, &password, false).await;
        let mails = self.mails(&ada).await;
        self.equal("the mails to an erased user", &mails, &Vec::new());
        self.registers(form(&email, &password, "Ada")).await;
        let mails = self.mails(&ada).await;
        self.equal(
            "the mails to a new user",
            &mails,
            &vec!["welcome".to_owned()],
        );
    }
}
