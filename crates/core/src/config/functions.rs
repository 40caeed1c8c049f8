//! The functions of expressions, as one table.

use std::net::Ipv4Addr;

use hcl_edit::{expr::FuncCall, parser};
use ipnet::Ipv4Net;

use super::{
    evaluate::{Binding, Scope},
    problem::Reported,
    value::{Text, Value},
};

/// A function of expressions.
#[derive(Debug)]
pub(super) struct Function {
    /// Its name.
    pub(super) name: &'static str,
    /// How it is called.
    pub(super) usage: &'static str,
    /// What it returns.
    pub(super) about: &'static str,
    least: usize,
    most: usize,
    run: fn(Scope<'_>, &[Value]) -> Result<Value, Fault>,
}

/// Why a function has no result.
enum Fault {
    Message(String),
    Reported,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

impl From<Reported> for Fault {
    fn from(_: Reported) -> Self {
        Self::Reported
    }
}

/// All functions.
pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "cidrhost",
        usage: "cidrhost(\"10.77.0.0/24\", 5)",
        about: "The address of this number in a subnet; counted from the end when negative.",
        least: 2,
        most: 2,
        run: cidrhost,
    },
    Function {
        name: "concat",
        usage: "concat(LIST, …)",
        about: "One list of all elements.",
        least: 0,
        most: usize::MAX,
        run: concat,
    },
    Function {
        name: "env",
        usage: "env(\"NAME\")",
        about: "The value of an environment variable, which must be set. No message shows it.",
        least: 1,
        most: 1,
        run: env,
    },
    Function {
        name: "file",
        usage: "file(\"PATH\")",
        about: "The text of a file; paths begin at the fleet's directory.",
        least: 1,
        most: 1,
        run: file,
    },
    Function {
        name: "format",
        usage: "format(\"%s-%02d\", VALUE, …)",
        about: "The text with `%s`, `%d`, `%03d` replaced by the values, `%%` by `%`.",
        least: 1,
        most: usize::MAX,
        run: format_text,
    },
    Function {
        name: "join",
        usage: "join(\", \", LIST)",
        about: "The elements as one text, with the first argument between them.",
        least: 2,
        most: 2,
        run: join,
    },
    Function {
        name: "length",
        usage: "length(VALUE)",
        about: "The number of elements of a list or object, or of characters of a text.",
        least: 1,
        most: 1,
        run: length,
    },
    Function {
        name: "lower",
        usage: "lower(TEXT)",
        about: "The text in lower case.",
        least: 1,
        most: 1,
        run: |_, values| map_text(values, str::to_lowercase),
    },
    Function {
        name: "split",
        usage: "split(\",\", TEXT)",
        about: "The parts of the text between the first argument.",
        least: 2,
        most: 2,
        run: split,
    },
    Function {
        name: "templatefile",
        usage: "templatefile(\"PATH\", { name = VALUE })",
        about: "The text of a template file, which sees the names it is given.",
        least: 2,
        most: 2,
        run: templatefile,
    },
    Function {
        name: "trimspace",
        usage: "trimspace(TEXT)",
        about: "The text without blanks and line ends around it.",
        least: 1,
        most: 1,
        run: |_, values| map_text(values, |text| text.trim().to_owned()),
    },
    Function {
        name: "upper",
        usage: "upper(TEXT)",
        about: "The text in upper case.",
        least: 1,
        most: 1,
        run: |_, values| map_text(values, str::to_uppercase),
    },
];

/// Returns the function of this name.
pub(super) fn named(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

impl Function {
    /// Returns what the function returns, or reports why it returns nothing.
    pub(super) fn call(
        &self,
        scope: Scope<'_>,
        call: &FuncCall,
        values: &[Value],
    ) -> Result<Value, Reported> {
        let result = if (self.least..=self.most).contains(&values.len()) {
            (self.run)(scope, values)
        } else {
            Err(Fault::Message(format!(
                "it is called as {}, not with {}",
                self.usage,
                values.len()
            )))
        };
        result.map_err(|fault| match fault {
            Fault::Reported => Reported,
            Fault::Message(message) => scope.fail(call, format!("{}: {message}", self.name)),
        })
    }
}

fn text(value: &Value) -> Result<Text, Fault> {
    value.in_text().ok_or_else(|| format!("expected a text, got {}", value.what()).into())
}

fn list(value: &Value) -> Result<&[Value], Fault> {
    match value {
        Value::List(list) => Ok(list),
        other => Err(format!("expected a list, got {}", other.what()).into()),
    }
}

fn map_text(values: &[Value], map: impl Fn(&str) -> String) -> Result<Value, Fault> {
    let Text { text, outside } = text(&values[0])?;
    Ok(Value::Text(Text { text: map(&text), outside }))
}

fn env(scope: Scope<'_>, values: &[Value]) -> Result<Value, Fault> {
    let Text { text: name, outside } = text(&values[0])?;
    match (scope.world.inputs.environment)(&name) {
        Some(value) => Ok(Value::outside(value)),
        None if outside => Err("the environment variable is not set".to_owned().into()),
        None => Err(format!("the environment variable {name} is not set").into()),
    }
}

fn file(scope: Scope<'_>, values: &[Value]) -> Result<Value, Fault> {
    let source = scope.world.file(&text(&values[0])?)?;
    Ok(Value::outside(source.text.clone()))
}

/// How deep templates may call templates.
const DEPTH: usize = 8;

fn templatefile(scope: Scope<'_>, values: &[Value]) -> Result<Value, Fault> {
    let source = scope.world.file(&text(&values[0])?)?;
    let Value::Object(names) = &values[1] else {
        return Err(format!("expected an object, got {}", values[1].what()).into());
    };
    let template = parser::parse_template(&source.text).map_err(|error| {
        let at = error.location().offset();
        scope.world.report.add(source.problem(at..at, error.message()))
    })?;
    let depth = &scope.world.depth;
    if depth.get() >= DEPTH {
        return Err(format!("templates call one another more than {DEPTH} deep").into());
    }
    depth.set(depth.get() + 1);
    let names: Vec<_> = names.iter().collect();
    let text = bind(&names, None, &|bindings| scope.closed(&source, bindings).text(&template));
    depth.set(depth.get() - 1);
    Ok(Value::outside(text?.text))
}

type Filled<'f> = &'f dyn for<'b> Fn(Option<&'b Binding<'b>>) -> Result<Text, Reported>;

/// Calls `then` with all names bound.
fn bind(
    names: &[(&String, &Value)],
    outer: Option<&Binding<'_>>,
    then: Filled<'_>,
) -> Result<Text, Reported> {
    match names.split_first() {
        None => then(outer),
        Some(((name, value), rest)) => {
            bind(rest, Some(&Binding { name, value: (*value).clone(), outer }), then)
        }
    }
}

fn join(_: Scope<'_>, values: &[Value]) -> Result<Value, Fault> {
    let between = text(&values[0])?;
    let mut joined = Text::default();
    for (index, value) in list(&values[1])?.iter().enumerate() {
        if index > 0 {
            joined.push(&between);
        }
        joined.push(&text(value)?);
    }
    Ok(Value::Text(joined))
}

fn split(_: Scope<'_>, values: &[Value]) -> Result<Value, Fault> {
    let (between, whole) = (text(&values[0])?, text(&values[1])?);
    let part = |part: &str| Value::Text(Text { text: part.to_owned(), outside: whole.outside });
    if whole.text.is_empty() {
        return Ok(Value::List(Vec::new()));
    }
    if between.text.is_empty() {
        let parts =
            whole.text.char_indices().map(|(at, c)| part(&whole.text[at..at + c.len_utf8()]));
        return Ok(Value::List(parts.collect()));
    }
    Ok(Value::List(whole.text.split(&between.text).map(part).collect()))
}

fn length(_: Scope<'_>, values: &[Value]) -> Result<Value, Fault> {
    let length = match &values[0] {
        Value::List(list) => list.len(),
        Value::Object(object) => object.len(),
        Value::Text(text) => text.text.chars().count(),
        other => return Err(format!("{} has no length", other.what()).into()),
    };
    Ok(Value::Number(length.into()))
}

fn concat(_: Scope<'_>, values: &[Value]) -> Result<Value, Fault> {
    let mut all = Vec::new();
    for value in values {
        all.extend_from_slice(list(value)?);
    }
    Ok(Value::List(all))
}

fn cidrhost(_: Scope<'_>, values: &[Value]) -> Result<Value, Fault> {
    let Text { text: subnet, outside } = text(&values[0])?;
    let shown = if outside { "the text" } else { subnet.as_str() };
    let Ok(net) = subnet.parse::<Ipv4Net>() else {
        return Err(format!("{shown} is no IPv4 subnet, as in 10.77.0.0/24").into());
    };
    let Value::Number(number) = &values[1] else {
        return Err(format!("expected a number, got {}", values[1].what()).into());
    };
    let size = 1_i64 << (32 - net.prefix_len());
    let number = number.as_i64().filter(|number| (-size..size).contains(number));
    let Some(number) = number else {
        return Err(format!("{shown} has {size} addresses").into());
    };
    let host = i64::from(u32::from(net.network())) + number.rem_euclid(size);
    match u32::try_from(host) {
        Ok(host) => Ok(Value::Text(Text { text: Ipv4Addr::from(host).to_string(), outside })),
        Err(_) => Err(format!("{shown} has {size} addresses").into()),
    }
}

fn format_text(_: Scope<'_>, values: &[Value]) -> Result<Value, Fault> {
    let pattern = text(&values[0])?;
    let mut result = Text { text: String::new(), outside: pattern.outside };
    let mut arguments = values[1..].iter();
    let mut rest = pattern.text.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        result.text.push_str(before);
        let verb = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (width, tail) = after.split_at(verb);
        let Some(verb) = tail.chars().next() else {
            return Err("the text ends within a `%`".to_owned().into());
        };
        rest = &tail[verb.len_utf8()..];
        if verb == '%' && width.is_empty() {
            result.text.push('%');
            continue;
        }
        let missing = || Fault::Message("there are fewer values than `%`".to_owned());
        let argument = arguments.next().ok_or_else(missing)?;
        let size: usize = width.parse().unwrap_or(0).min(1000);
        let part = match (verb, argument) {
            ('s', value) => text(value)?,
            ('d', Value::Number(number)) if !number.is_f64() => text(&Value::Number(*number))?,
            ('d', other) => {
                return Err(format!("`%d` takes a whole number, got {}", other.what()).into());
            }
            _ => return Err(format!("`%{verb}` is not known, only %s, %d and %%").into()),
        };
        let pad = if width.starts_with('0') && verb == 'd' { '0' } else { ' ' };
        let short = size.saturating_sub(part.text.chars().count());
        result.text.extend(std::iter::repeat_n(pad, short));
        result.push(&part);
    }
    if arguments.next().is_some() {
        return Err("there are more values than `%`".to_owned().into());
    }
    result.text.push_str(rest);
    Ok(Value::Text(result))
}
