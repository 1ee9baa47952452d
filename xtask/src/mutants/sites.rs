//! Finds the places for faults in a source file.

use std::collections::BTreeSet;
use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, Pat, Stmt};

/// A place in a file, with a fault.
pub(super) struct Site {
    /// The bytes that the fault replaces; none for an insertion.
    pub(super) bytes: Range<usize>,
    pub(super) form: Form,
    /// The line, counted from 1.
    pub(super) line: usize,
    /// The fault in words.
    pub(super) fault: String,
}

/// The shape of a fault.
pub(super) enum Form {
    /// Another expression.
    Replace(String),
    /// A statement is left out.
    Remove,
    /// The function returns a value at once; nothing for `()`.
    Return(&'static str),
    /// An arm of a match is left out; a later arm takes everything.
    SkipArm,
    /// No fault: a function that contains some cannot be `const`.
    NotConst,
}

/// Methods, and those that a careless author could have meant.
const CONFUSED: [(&str, &str); 10] = [
    ("saturating_add", "saturating_sub"),
    ("saturating_sub", "saturating_add"),
    ("checked_add", "checked_sub"),
    ("checked_sub", "checked_add"),
    ("min", "max"),
    ("max", "min"),
    ("is_some", "is_none"),
    ("is_none", "is_some"),
    ("any", "all"),
    ("all", "any"),
];

/// Methods that add an effect and return the effects.
const EFFECTS: [&str; 12] = [
    "add",
    "after",
    "call",
    "cancel",
    "end",
    "execute",
    "publish",
    "publish_after",
    "publish_at",
    "send",
    "send_as",
    "update",
];

/// Finds all places. Functions with a name of `kept_const` stay as they are.
///
/// # Errors
///
/// Fails if the source cannot be parsed.
pub(super) fn find(source: &str, kept_const: &BTreeSet<String>) -> syn::Result<Vec<Site>> {
    let file = syn::parse_file(source)?;
    let mut finder = Finder {
        source,
        kept_const,
        sites: Vec::new(),
    };
    finder.visit_file(&file);
    let mut sites = finder.sites;
    sites.sort_by_key(|site| (site.bytes.start, std::cmp::Reverse(site.bytes.end)));
    Ok(sites)
}

/// Returns the names that the initial values of constants mention.
pub(super) fn named_by_constants(source: &str) -> BTreeSet<String> {
    struct Constants(Vec<Range<usize>>);

    impl<'ast> Visit<'ast> for Constants {
        fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
            self.0.push(item.expr.span().byte_range());
        }

        fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
            self.0.push(item.expr.span().byte_range());
        }
    }

    let mut constants = Constants(Vec::new());
    if let Ok(file) = syn::parse_file(source) {
        constants.visit_file(&file);
    }
    let values = constants.0.into_iter().map(|bytes| &source[bytes]);
    let is_of_name = |it: char| it.is_alphanumeric() || it == '_';
    let names = values.flat_map(|value| value.split(move |it| !is_of_name(it)));
    names.map(str::to_owned).collect()
}

struct Finder<'a> {
    source: &'a str,
    kept_const: &'a BTreeSet<String>,
    sites: Vec<Site>,
}

impl Finder<'_> {
    fn text(&self, span: Span) -> &str {
        &self.source[span.byte_range()]
    }

    fn add(&mut self, bytes: Range<usize>, at: Span, form: Form, fault: impl Into<String>) {
        self.sites.push(Site {
            bytes,
            form,
            line: at.start().line,
            fault: fault.into(),
        });
    }

    fn replace(&mut self, expr: &Expr, by: String) {
        let span = expr.span();
        let fault = format!("`{}` becomes `{}`", short(self.text(span)), short(&by));
        self.add(span.byte_range(), span, Form::Replace(by), fault);
    }

    /// Finds the places of a function.
    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let name = signature.ident.to_string();
        let is_const = signature.constness.is_some();
        if is_const && self.kept_const.contains(&name) {
            return;
        }
        let before = self.sites.len();
        let at = body.brace_token.span.open().byte_range().end;
        for value in self.values_of(&signature.output) {
            let form = Form::Return(value);
            let fault = format!("`{name}` returns `{value}` at once");
            self.add(at..at, signature.ident.span(), form, fault);
        }
        visit::visit_block(self, body);
        if let (Some(token), true) = (&signature.constness, self.sites.len() > before) {
            let span = token.span();
            self.add(span.byte_range(), span, Form::NotConst, "");
        }
    }

    /// Values that a function of this type could return at once.
    fn values_of(&self, output: &syn::ReturnType) -> &'static [&'static str] {
        let syn::ReturnType::Type(_, output) = output else {
            return &["()"];
        };
        let output: String = self.text(output.span()).split_whitespace().collect();
        match output.as_str() {
            "bool" => &["true", "false"],
            "Result<()>" | "Result<(),Error>" => &["Ok(())"],
            it if it.starts_with("Result<Option<") => &["Ok(None)"],
            it if it.starts_with("Option<") => &["None"],
            _ => &[],
        }
    }

    fn binary(&mut self, expr: &Expr, binary: &syn::ExprBinary) {
        let by = match binary.op {
            BinOp::Lt(_) => "<=",
            BinOp::Le(_) => "<",
            BinOp::Gt(_) => ">=",
            BinOp::Ge(_) => ">",
            BinOp::Eq(_) => "!=",
            BinOp::Ne(_) => "==",
            BinOp::Add(_) => "-",
            BinOp::Sub(_) => "+",
            BinOp::AddAssign(_) => "-=",
            BinOp::SubAssign(_) => "+=",
            BinOp::And(_) if !binds(expr) => "||",
            BinOp::Or(_) => "&&",
            _ => return,
        };
        let (left, right) = (binary.left.span(), binary.right.span());
        let by = format!("{} {by} {}", self.text(left), self.text(right));
        self.replace(expr, by);
    }

    fn method(&mut self, expr: &Expr, call: &syn::ExprMethodCall) {
        let name = call.method.to_string();
        let range = expr.span().byte_range();
        let method = call.method.span().byte_range();
        if let Some((_, other)) = CONFUSED.iter().find(|(it, _)| *it == name) {
            let (before, after) = (range.start..method.start, method.end..range.end);
            let by = format!("{}{other}{}", &self.source[before], &self.source[after]);
            self.replace(expr, by);
        }
        let is_chained = matches!(&*call.receiver, Expr::MethodCall(_));
        if is_chained && EFFECTS.contains(&name.as_str()) {
            let receiver = self.text(call.receiver.span()).to_owned();
            let fault = format!("`.{name}(…)` is left out");
            self.add(range, call.method.span(), Form::Replace(receiver), fault);
        }
    }

    fn condition(&mut self, condition: &Expr) {
        let is_negated_elsewhere = match condition {
            Expr::Unary(_) => true,
            Expr::Binary(binary) => !matches!(binary.op, BinOp::And(_) | BinOp::Or(_)),
            _ => false,
        };
        if !is_negated_elsewhere && !binds(condition) {
            let by = format!("!({})", self.text(condition.span()));
            self.replace(condition, by);
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}

    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}

    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            self.function(&item.sig, &item.block);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
    }

    fn visit_pat(&mut self, _: &'ast Pat) {}

    fn visit_type(&mut self, _: &'ast syn::Type) {}

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if let Stmt::Expr(expr, Some(_)) = statement
            && is_work(expr)
        {
            let span = statement.span();
            let fault = format!("`{}` is left out", short(self.text(span)));
            self.add(span.byte_range(), span, Form::Remove, fault);
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr_match(&mut self, it: &'ast syn::ExprMatch) {
        self.visit_expr(&it.expr);
        let (last, others) = match it.arms.split_last() {
            Some((last, others)) => (takes_all(&last.pat), others.len()),
            None => (false, 0),
        };
        for (place, arm) in it.arms.iter().enumerate() {
            if let Pat::Guard(guarded) = &arm.pat {
                for value in ["true", "false"] {
                    self.replace(&guarded.guard, value.to_owned());
                }
                self.visit_expr(&guarded.guard);
            } else if last && place < others {
                let span = arm.pat.span();
                let (end, text) = (span.byte_range().end, short(self.text(span)));
                let fault = format!("the arm `{text}` is left out");
                self.add(end..end, span, Form::SkipArm, fault);
            }
            self.visit_expr(&arm.body);
        }
    }

    fn visit_expr_if(&mut self, it: &'ast syn::ExprIf) {
        self.condition(&it.cond);
        visit::visit_expr_if(self, it);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        match expr {
            Expr::Binary(binary) => self.binary(expr, binary),
            Expr::MethodCall(call) => self.method(expr, call),
            Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Not(_)) => {
                let by = self.text(unary.expr.span()).to_owned();
                self.replace(expr, by);
            }
            Expr::Const(_) => return,
            _ => {}
        }
        visit::visit_expr(self, expr);
    }
}

/// Returns whether a condition binds names, so it must stand where it stands.
fn binds(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(it) if matches!(it.op, BinOp::And(_)) => binds(&it.left) || binds(&it.right),
        _ => false,
    }
}

/// Returns whether a statement does something that can be left out.
fn is_work(expr: &Expr) -> bool {
    match expr {
        Expr::Try(it) => is_work(&it.expr),
        Expr::Await(it) => is_work(&it.base),
        Expr::Assign(_) | Expr::Call(_) | Expr::MethodCall(_) => true,
        Expr::Binary(it) => matches!(it.op, BinOp::AddAssign(_) | BinOp::SubAssign(_)),
        _ => false,
    }
}

/// Returns whether a pattern matches everything.
fn takes_all(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        Pat::Ident(it) => {
            it.subpat.is_none() && it.ident.to_string().starts_with(char::is_lowercase)
        }
        _ => false,
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let mut lists = attributes
        .iter()
        .filter_map(|it| it.meta.require_list().ok());
    lists.any(|list| list.path.is_ident("cfg") && list.tokens.to_string() == "test")
}

/// The code on one line, cut after 60 characters.
fn short(code: &str) -> String {
    let words: Vec<_> = code.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
