//! Numbers out of JSON that our own programs print: names are unique where they are looked for.

/// The number behind the first field of that name.
pub(crate) fn number(json: &str, name: &str) -> Option<f64> {
    leading(json.split_once(&format!("\"{name}\":"))?.1)
}

/// The number that a text begins with.
pub(crate) fn leading(text: &str) -> Option<f64> {
    text.trim_start().split([',', '}', ']', '\n']).next()?.trim().parse().ok()
}

/// All numbers of the first list of that name.
pub(crate) fn numbers(json: &str, name: &str) -> Option<Vec<f64>> {
    let list = json.split_once(&format!("\"{name}\":["))?.1.split(']').next()?;
    list.split(',').map(|number| number.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name() {
        let json = r#"{"a":1.5,"list":[1,2],"b": -3}"#;
        assert_eq!([number(json, "a"), number(json, "b")], [Some(1.5), Some(-3.0)]);
        assert_eq!(numbers(json, "list"), Some(vec![1.0, 2.0]));
        assert_eq!((number(json, "c"), numbers(json, "a")), (None, None));
    }
}
