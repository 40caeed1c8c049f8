//! `+`, `==`, `!` and the like.

use hcl_edit::{
    Number,
    expr::{BinaryOperator, UnaryOperator},
};

use super::value::Value;

/// Returns the result of `!value` or `-value`.
pub(super) fn unary(operator: UnaryOperator, value: &Value) -> Result<Value, String> {
    match (operator, value) {
        (UnaryOperator::Not, Value::Bool(value)) => Ok(Value::Bool(!value)),
        (UnaryOperator::Neg, Value::Number(number)) => {
            arithmetic(Number::from(0_u64), BinaryOperator::Minus, *number)
        }
        _ => Err(format!("`{operator}` cannot be applied to {}", value.what())),
    }
}

/// Returns the result of `left operator right`.
pub(super) fn binary(
    left: &Value,
    operator: BinaryOperator,
    right: &Value,
) -> Result<Value, String> {
    use BinaryOperator::{And, Eq, Greater, GreaterEq, Less, LessEq, NotEq, Or};
    Ok(match (left, operator, right) {
        (left, Eq, right) => Value::Bool(equal(left, right)),
        (left, NotEq, right) => Value::Bool(!equal(left, right)),
        (Value::Bool(left), And, Value::Bool(right)) => Value::Bool(*left && *right),
        (Value::Bool(left), Or, Value::Bool(right)) => Value::Bool(*left || *right),
        (Value::Number(left), Less, Value::Number(right)) => Value::Bool(left < right),
        (Value::Number(left), LessEq, Value::Number(right)) => Value::Bool(left <= right),
        (Value::Number(left), Greater, Value::Number(right)) => Value::Bool(left > right),
        (Value::Number(left), GreaterEq, Value::Number(right)) => Value::Bool(left >= right),
        (Value::Number(left), operator, Value::Number(right)) => {
            return arithmetic(*left, operator, *right);
        }
        (left, operator, right) => {
            let (left, right) = (left.what(), right.what());
            return Err(format!("`{operator}` cannot be applied to {left} and {right}"));
        }
    })
}

/// Two texts are equal whatever they come from.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => left.text == right.text,
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| equal(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|((k, l), (q, r))| k == q && equal(l, r))
        }
        (left, right) => left == right,
    }
}

/// Whole numbers stay whole; what does not fit is a mistake, not a panic.
fn arithmetic(left: Number, operator: BinaryOperator, right: Number) -> Result<Value, String> {
    use BinaryOperator::{Div, Minus, Mod, Mul, Plus};
    if matches!(operator, Div | Mod) && right.as_f64() == Some(0.0) {
        return Err("division by zero".to_owned());
    }
    let whole = whole(left).zip(whole(right)).and_then(|(left, right)| match operator {
        Plus => left.checked_add(right),
        Minus => left.checked_sub(right),
        Mul => left.checked_mul(right),
        Mod => left.checked_rem(right),
        Div if left % right == 0 => left.checked_div(right),
        _ => None,
    });
    if let Some(whole) = whole {
        let number = u64::try_from(whole).map(Number::from);
        let number = number.or_else(|_| i64::try_from(whole).map(Number::from));
        return number.map(Value::Number).map_err(|_| "the number is too large".to_owned());
    }
    let (left, right) = (left.as_f64().unwrap_or(0.0), right.as_f64().unwrap_or(0.0));
    let result = match operator {
        Plus => left + right,
        Minus => left - right,
        Mul => left * right,
        Div => left / right,
        Mod => left % right,
        other => return Err(format!("`{other}` cannot be applied to numbers")),
    };
    Number::from_f64(result).map(Value::Number).ok_or_else(|| "the number is too large".to_owned())
}

fn whole(number: Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}
