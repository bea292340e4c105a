//! Cultures: how a country writes months, days, dates, numbers and money.
//!
//! A handful that leads come from, written out here. A name without a country (`de`) means the one listed; one that
//! is not listed is an error: a date in the wrong language is worse than none.

use super::{Given, RenderError};
use crate::diagnostic::nearest;

/// One culture.
#[derive(Debug)]
pub(super) struct Culture {
    /// `de-DE`.
    pub(super) name: &'static str,
    /// January to December.
    pub(super) months: [&'static str; 12],
    /// Their short names, alone.
    pub(super) short_months: [&'static str; 12],
    /// Their short names beside a day.
    pub(super) dated_months: [&'static str; 12],
    /// Sunday to Saturday.
    pub(super) days: [&'static str; 7],
    /// Their short names.
    pub(super) short_days: [&'static str; 7],
    /// Before and after noon.
    pub(super) halves: [&'static str; 2],
    /// The standard formats d, D, t, T, m, y.
    pub(super) patterns: Patterns,
    /// The decimal point.
    pub(super) point: &'static str,
    /// What groups thousands.
    pub(super) group: &'static str,
    /// Money: `n` is the number; above and below zero.
    pub(super) money: [&'static str; 2],
    /// Percent: `n` is the number.
    pub(super) percent: &'static str,
    /// Whether `03/04/2018` is the third of April.
    pub(super) is_day_first: bool,
}

impl Culture {
    /// What `/` in a format of dates stands for: the sign between the parts of a short date.
    pub(super) fn date_separator(&self) -> &'static str {
        let pattern = self.patterns.short_date;
        let start = pattern.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(0);
        &pattern[start..=start]
    }

    /// The month that a name or short name means, from 1.
    pub(super) fn month(&self, name: &str) -> Option<i8> {
        let name = name.trim_end_matches('.').to_lowercase();
        let is_it = |known: &&str| known.trim_end_matches('.').to_lowercase() == name;
        let lists = [&self.months, &self.short_months, &self.dated_months];
        let at = lists.into_iter().find_map(|list| list.iter().position(&is_it))?;
        i8::try_from(at + 1).ok()
    }
}

/// The patterns of the standard formats.
#[derive(Debug)]
pub(super) struct Patterns {
    pub(super) short_date: &'static str,
    pub(super) long_date: &'static str,
    pub(super) short_time: &'static str,
    pub(super) long_time: &'static str,
    pub(super) month_day: &'static str,
    pub(super) year_month: &'static str,
}

/// What holds where no culture is given.
pub(super) const ENGLISH: &Culture = &Culture {
    name: "en-US",
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    short_months: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    dated_months: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    days: ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"],
    short_days: ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"],
    halves: ["AM", "PM"],
    patterns: Patterns {
        short_date: "M/d/yyyy",
        long_date: "dddd, MMMM d, yyyy",
        short_time: "h:mm tt",
        long_time: "h:mm:ss tt",
        month_day: "MMMM d",
        year_month: "MMMM yyyy",
    },
    point: ".",
    group: ",",
    money: ["$n", "-$n"],
    percent: "n%",
    is_day_first: false,
};

const BRITISH: Culture = Culture {
    name: "en-GB",
    short_months: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sept", "Oct", "Nov", "Dec"],
    dated_months: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sept", "Oct", "Nov", "Dec"],
    halves: ["am", "pm"],
    patterns: Patterns {
        short_date: "dd/MM/yyyy",
        long_date: "dddd, d MMMM yyyy",
        month_day: "d MMMM",
        year_month: "MMMM yyyy",
        ..CLOCK_24
    },
    money: ["£n", "-£n"],
    is_day_first: true,
    ..*ENGLISH
};

/// Times of most of Europe.
const CLOCK_24: Patterns = Patterns {
    short_date: "dd/MM/yyyy",
    long_date: "dddd d MMMM yyyy",
    short_time: "HH:mm",
    long_time: "HH:mm:ss",
    month_day: "d MMMM",
    year_month: "MMMM yyyy",
};

/// Numbers of most of Europe.
const CONTINENT: Culture = Culture {
    patterns: CLOCK_24,
    point: ",",
    group: ".",
    money: ["n €", "-n €"],
    percent: "n %",
    is_day_first: true,
    ..*ENGLISH
};

const GERMAN: Culture = Culture {
    name: "de-DE",
    months: [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
    short_months: ["Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"],
    dated_months: ["Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sept.", "Okt.", "Nov.", "Dez."],
    days: ["Sonntag", "Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag"],
    short_days: ["So", "Mo", "Di", "Mi", "Do", "Fr", "Sa"],
    patterns: Patterns { short_date: "dd.MM.yyyy", long_date: "dddd, d. MMMM yyyy", month_day: "d. MMMM", ..CLOCK_24 },
    ..CONTINENT
};

const FRENCH: Culture = Culture {
    name: "fr-FR",
    months: [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
    short_months: FRENCH_SHORT,
    dated_months: FRENCH_SHORT,
    days: ["dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"],
    short_days: ["dim.", "lun.", "mar.", "mer.", "jeu.", "ven.", "sam."],
    group: "\u{202f}",
    ..CONTINENT
};
const FRENCH_SHORT: [&str; 12] =
    ["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."];

const SPANISH: Culture = Culture {
    name: "es-ES",
    months: [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
    short_months: SPANISH_SHORT,
    dated_months: SPANISH_SHORT,
    days: ["domingo", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado"],
    short_days: ["dom", "lun", "mar", "mié", "jue", "vie", "sáb"],
    halves: ["a.\u{a0}m.", "p.\u{a0}m."],
    patterns: Patterns {
        short_date: "d/M/yyyy",
        long_date: "dddd, d 'de' MMMM 'de' yyyy",
        short_time: "H:mm",
        long_time: "H:mm:ss",
        month_day: "d 'de' MMMM",
        year_month: "MMMM 'de' yyyy",
    },
    ..CONTINENT
};
const SPANISH_SHORT: [&str; 12] = ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sept", "oct", "nov", "dic"];

const ITALIAN: Culture = Culture {
    name: "it-IT",
    months: [
        "gennaio",
        "febbraio",
        "marzo",
        "aprile",
        "maggio",
        "giugno",
        "luglio",
        "agosto",
        "settembre",
        "ottobre",
        "novembre",
        "dicembre",
    ],
    short_months: ITALIAN_SHORT,
    dated_months: ITALIAN_SHORT,
    days: ["domenica", "lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato"],
    short_days: ["dom", "lun", "mar", "mer", "gio", "ven", "sab"],
    percent: "n%",
    ..CONTINENT
};
const ITALIAN_SHORT: [&str; 12] = ["gen", "feb", "mar", "apr", "mag", "giu", "lug", "ago", "set", "ott", "nov", "dic"];

const DUTCH: Culture = Culture {
    name: "nl-NL",
    months: [
        "januari",
        "februari",
        "maart",
        "april",
        "mei",
        "juni",
        "juli",
        "augustus",
        "september",
        "oktober",
        "november",
        "december",
    ],
    short_months: DUTCH_SHORT,
    dated_months: DUTCH_SHORT,
    days: ["zondag", "maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag"],
    short_days: ["zo", "ma", "di", "wo", "do", "vr", "za"],
    halves: ["a.m.", "p.m."],
    patterns: Patterns { short_date: "dd-MM-yyyy", ..CLOCK_24 },
    money: ["€ n", "€ -n"],
    percent: "n%",
    ..CONTINENT
};
const DUTCH_SHORT: [&str; 12] = ["jan", "feb", "mrt", "apr", "mei", "jun", "jul", "aug", "sep", "okt", "nov", "dec"];

const BRAZILIAN: Culture = Culture {
    name: "pt-BR",
    months: [
        "janeiro",
        "fevereiro",
        "março",
        "abril",
        "maio",
        "junho",
        "julho",
        "agosto",
        "setembro",
        "outubro",
        "novembro",
        "dezembro",
    ],
    short_months: BRAZILIAN_SHORT,
    dated_months: BRAZILIAN_SHORT,
    days: ["domingo", "segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado"],
    short_days: ["dom.", "seg.", "ter.", "qua.", "qui.", "sex.", "sáb."],
    patterns: Patterns {
        long_date: "dddd, d 'de' MMMM 'de' yyyy",
        month_day: "d 'de' MMMM",
        year_month: "MMMM 'de' yyyy",
        ..CLOCK_24
    },
    money: ["R$ n", "-R$ n"],
    percent: "n%",
    ..CONTINENT
};
const BRAZILIAN_SHORT: [&str; 12] =
    ["jan.", "fev.", "mar.", "abr.", "mai.", "jun.", "jul.", "ago.", "set.", "out.", "nov.", "dez."];

/// The first of a language is the one that its bare name means.
static ALL: [&Culture; 8] = [ENGLISH, &BRITISH, &GERMAN, &FRENCH, &SPANISH, &ITALIAN, &DUTCH, &BRAZILIAN];

/// The cultures that exist.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|culture| culture.name)
}

/// The culture called `name`, ignoring case; the empty name means en-US.
pub(super) fn find(name: &str) -> Result<&'static Culture, String> {
    if name.is_empty() {
        return Ok(ENGLISH);
    }
    let is_it = |culture: &&&Culture| {
        culture.name.eq_ignore_ascii_case(name)
            || culture.name.split('-').next().is_some_and(|language| language.eq_ignore_ascii_case(name))
    };
    ALL.iter().find(is_it).copied().ok_or_else(|| {
        let near = nearest(name, names()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        format!("there is no culture `{name}`{near} (there are {})", names().collect::<Vec<_>>().join(" "))
    })
}

/// The culture that is argument `at` or the option `culture`.
pub(super) fn of(given: &Given<'_>, at: usize) -> Result<&'static Culture, RenderError> {
    let name = match given.option("culture") {
        Some(option) => option.as_str().ok_or_else(|| given.fail("wants a text as `culture`"))?,
        None if given.len() > at => given.solid_text(at)?,
        None => "",
    };
    // The name may come from the lead: it is not repeated.
    find(name).map_err(|_| {
        let known = names().collect::<Vec<_>>().join(" ");
        given.fail(format_args!("got the name of a culture that does not exist here; there are {known}"))
    })
}

#[cfg(test)]
mod tests {
    use super::{ENGLISH, find};

    #[test]
    fn cultures_are_found_by_country_and_by_language() {
        assert_eq!(find("DE-de").map(|culture| culture.name), Ok("de-DE"));
        assert_eq!(find("en").map(|culture| culture.name), Ok("en-US"));
        assert_eq!(find("").map(|culture| culture.name), Ok(ENGLISH.name));
        assert!(find("de-D").expect_err("unknown").contains("did you mean `de-DE`?"));
    }
}
