//! `muslin user`, `muslin role`, `muslin auth`

use crate::args::{Auth, Global, RoleOf, User};
use crate::client::{self, Call, Client};
use crate::cmd::token::fields;
use crate::failure::Failure;
use crate::output::{self, Table, cell};
use crate::password;
use serde_json::{Value, json};

/// Makes, lists, shows and changes users.
pub(crate) async fn user(global: &Global, user: User) -> Result<(), Failure> {
    let call = match user {
        User::Add { name, no_password: true } => {
            Call::post("/v1/auth/users", json!({ "name": name, "no_password": true }).to_string())
        }
        User::Add { name, no_password: false } => {
            let password = password::read(&format!("password for {name}")).await?;
            let asked = json!({ "name": name, "password": password });
            Call::post("/v1/auth/users", asked.to_string())
        }
        User::Rm { name } => Call::delete(of_user(&name, "")),
        User::Ls => return list(global, "/v1/auth/users").await,
        User::Show { name } => Call::get(of_user(&name, "")),
        User::Passwd { name } => {
            let password = password::read(&format!("password for {name}")).await?;
            let asked = json!({ "password": password }).to_string();
            Call::post(of_user(&name, ":password"), asked)
        }
        User::Grant { name, role } => {
            Call::post(of_user(&name, ":grant"), json!({ "role": role }).to_string())
        }
        User::Revoke { name, role } => {
            Call::post(of_user(&name, ":revoke"), json!({ "role": role }).to_string())
        }
    };
    told(global, call).await
}

/// Makes, lists, shows and changes roles.
pub(crate) async fn role(global: &Global, role: RoleOf) -> Result<(), Failure> {
    let call = match role {
        RoleOf::Add { name } => Call::post("/v1/auth/roles", json!({ "name": name }).to_string()),
        RoleOf::Rm { name } => Call::delete(of_role(&name, "")),
        RoleOf::Ls => return list(global, "/v1/auth/roles").await,
        RoleOf::Show { name } => {
            let body = Client::new(global).await?.json(Call::get(of_role(&name, ""))).await?;
            return output::body(global.output, &body, |body| permissions(&body["permissions"]));
        }
        RoleOf::Grant { name, may, keys } => {
            let mut asked = range(keys);
            asked["permission"] = json!(may.name());
            Call::post(of_role(&name, ":grant"), asked.to_string())
        }
        RoleOf::Revoke { name, keys } => {
            Call::post(of_role(&name, ":revoke"), range(keys).to_string())
        }
    };
    told(global, call).await
}

/// Enables, disables, tells.
pub(crate) async fn run(global: &Global, auth: Auth) -> Result<(), Failure> {
    let call = match auth {
        Auth::Enable => Call::post("/v1/auth:enable", ""),
        Auth::Disable => Call::post("/v1/auth:disable", ""),
        Auth::Status => Call::get("/v1/auth"),
    };
    told(global, call).await
}

async fn told(global: &Global, call: Call) -> Result<(), Failure> {
    let body = Client::new(global).await?.json(call).await?;
    output::body(global.output, &body, fields)
}

async fn list(global: &Global, path: &str) -> Result<(), Failure> {
    let body = Client::new(global).await?.json(Call::get(path)).await?;
    output::body(global.output, &body, |body| {
        let mut table = Table::new(&["NAME"]);
        for name in body["items"].as_array().into_iter().flatten() {
            table.row([name.as_str().unwrap_or_default().to_string()]);
        }
        table
    })
}

fn permissions(items: &Value) -> Table {
    let mut table = Table::new(&["MAY", "KEY", "UP TO"]);
    for item in items.as_array().into_iter().flatten() {
        let either = |text: &str, base64: &str| match &item[text] {
            Value::Null => cell(item, base64),
            _ => cell(item, text),
        };
        let (key, end) = (either("key", "key_b64"), either("range_end", "range_end_b64"));
        let (key, end) = match (key.as_str(), end.as_str()) {
            ("\0", "\0") => ("all keys".to_string(), String::new()),
            (_, "\0") => (key, "the last key".to_string()),
            (_, "-") => (key, "that key alone".to_string()),
            _ => (key, end),
        };
        table.row([cell(item, "permission"), key, end]);
    }
    table
}

fn range(keys: crate::args::Keys) -> Value {
    let mut asked = json!({});
    let named = [("key", keys.key), ("range_end", keys.range_end), ("prefix", keys.prefix)];
    for (name, value) in named {
        if let Some(value) = value {
            asked[name] = Value::String(value);
        }
    }
    asked
}

fn of_user(name: &str, more: &str) -> String {
    format!("/v1/auth/users/{}{more}", client::escape(name))
}

fn of_role(name: &str, more: &str) -> String {
    format!("/v1/auth/roles/{}{more}", client::escape(name))
}
