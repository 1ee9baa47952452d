//! Writes a file that contains faults, each behind a condition.

use std::ops::Range;

use super::sites::{Form, Site};

/// A fault in the written file.
pub(super) struct Placed {
    /// The index in the list of sites.
    pub(super) site: usize,
    /// The bytes of the written file that belong to the site.
    pub(super) bytes: Range<usize>,
}

/// Writes the source with all sites. `numbers` has the number of each site.
///
/// The sites must be in order: by their beginning, the outer ones first.
pub(super) fn rewrite(source: &str, sites: &[Site], numbers: &[u32]) -> (String, Vec<Placed>) {
    let mut writer = Writer {
        source,
        sites,
        numbers,
        text: String::new(),
        placed: Vec::new(),
    };
    let mut next = 0;
    writer.range(0..source.len(), &mut next);
    (writer.text, writer.placed)
}

struct Writer<'a> {
    source: &'a str,
    sites: &'a [Site],
    numbers: &'a [u32],
    text: String,
    placed: Vec<Placed>,
}

impl Writer<'_> {
    /// Writes a range of the source with the sites within it, from the `next` one on.
    fn range(&mut self, range: Range<usize>, next: &mut usize) {
        let mut at = range.start;
        while let Some(site) = self.sites.get(*next) {
            if site.bytes.start >= range.end && !range.is_empty() || site.bytes.end > range.end {
                break;
            }
            let index = *next;
            *next += 1;
            self.text.push_str(&self.source[at..site.bytes.start]);
            let begin = self.text.len();
            self.site(index, next);
            let bytes = begin..self.text.len();
            self.placed.push(Placed { site: index, bytes });
            at = site.bytes.end;
        }
        self.text.push_str(&self.source[at..range.end]);
    }

    fn site(&mut self, index: usize, next: &mut usize) {
        let Site { bytes, form, .. } = &self.sites[index];
        let is_planted = format!("::shop_contracts::mutant({})", self.numbers[index]);
        match form {
            Form::Replace(by) => {
                self.text
                    .push_str(&format!("(if {is_planted} {{ {by} }} else {{ "));
                self.range(bytes.clone(), next);
                self.text.push_str(" })");
            }
            Form::Remove => {
                self.text
                    .push_str(&format!("if {is_planted} {{}} else {{ "));
                self.range(bytes.clone(), next);
                self.text.push_str(" }");
            }
            Form::Return(value) => {
                let early = format!(" if {is_planted} {{ return {value}; }}");
                self.text.push_str(&early);
            }
            Form::SkipArm => self.text.push_str(&format!(" if !{is_planted}")),
            Form::NotConst => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::sites;

    fn rewritten(source: &str) -> String {
        let sites = sites::find(source, &Default::default()).unwrap();
        let numbers: Vec<u32> = (1..).take(sites.len()).collect();
        rewrite(source, &sites, &numbers).0
    }

    #[test]
    fn each_fault_is_behind_its_own_condition() {
        let source = "fn f(a: u32) -> bool { a < 1 && !g(a) }";
        let text = rewritten(source);
        assert!(syn::parse_file(&text).is_ok(), "{text}");
        for fault in [
            "return true;",
            "return false;",
            "a <= 1",
            "a < 1 || !g(a)",
            "{ g(a) }",
        ] {
            assert!(text.contains(fault), "{fault}: {text}");
        }
        let conditions = text.matches("::shop_contracts::mutant(").count();
        assert_eq!(conditions, 5, "{text}");
    }

    #[test]
    fn statements_and_arms_are_left_out() {
        let source = "const fn f(x: &mut X) { x.send(1); match x.y { 1 => g(), _ => {} } }";
        let text = rewritten(source);
        assert!(syn::parse_file(&text).is_ok(), "{text}");
        assert!(!text.contains("const"), "{text}");
        assert!(text.contains("{} else { x.send(1); }"), "{text}");
        assert!(text.contains("1 if !::shop_contracts::mutant("), "{text}");
    }

    #[test]
    fn conditions_that_bind_names_and_constants_stay() {
        for source in [
            "fn f(x: Option<u8>) -> u8 { if let Some(y) = x && let 1 = y { 1 } else { 0 } }",
            "const N: u32 = 1 + 2;",
            "#[cfg(test)] mod tests { fn f() -> bool { 1 < 2 } }",
        ] {
            assert_eq!(rewritten(source), source);
        }
    }
}
