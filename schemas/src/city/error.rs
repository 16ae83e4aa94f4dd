//! What is wrong with a city folder: every problem with file, line, column and remedy.

use std::fmt;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CityError {
    /// File, relative to the city folder.
    pub file: String,
    /// Line, from 1; 0 where the whole file is meant.
    pub line: u32,
    /// Column, from 1; 0 where the whole line is meant.
    pub column: u32,
    /// What is wrong and what to do.
    pub problem: String,
}

impl CityError {
    /// A problem of a whole file.
    pub fn of_file(file: &str, problem: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            problem: problem.into(),
        }
    }

    /// A problem at a place `(line, column)`.
    pub fn at(file: &str, (line, column): (u32, u32), problem: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            column,
            problem: problem.into(),
        }
    }
}

impl fmt::Display for CityError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(formatter, "{}: {}", self.file, self.problem),
            (line, 0) => write!(formatter, "{}:{line}: {}", self.file, self.problem),
            (line, column) => write!(formatter, "{}:{line}:{column}: {}", self.file, self.problem),
        }
    }
}

/// All problems of a folder, in order of file and line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CityErrors(pub Vec<CityError>);

impl fmt::Display for CityErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CityErrors {}

/// The known word nearest to a wrong one, as a remedy: `; did you mean "datum"?`, or nothing.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(wrong, word), word))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, word)| format!("; did you mean \"{word}\"?"))
}
