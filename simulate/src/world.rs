//! Everything days have in common: the land, its addresses, the calendar, what is planted.

use crate::SimulationOptions;
use crate::calendar::Calendar;
use crate::place::{AddressBook, Land};
use crate::plan::{Plan, plans_of};
use crate::weather::{Weather, weather_of};

/// The invented city.
#[derive(Debug)]
pub struct World {
    /// What was asked for.
    pub options: SimulationOptions,
    /// The land.
    pub land: Land,
    /// Its addresses.
    pub book: AddressBook,
    /// Its days.
    pub calendar: Calendar,
    /// What is planted, in order of id.
    pub plans: Vec<Plan>,
    weather: Vec<Weather>,
}

impl World {
    /// Invents the city; `days` may reach beyond those of the options, where it lives on.
    pub fn invent(options: SimulationOptions, days: u32) -> Self {
        let land = Land::invent(options.grids);
        let book = AddressBook::invent(&land);
        let calendar = Calendar::new();
        Self {
            plans: plans_of(options.seed, &book, days),
            weather: (0..days).map(|day| weather_of(options.seed, &calendar, day)).collect(),
            options,
            land,
            book,
            calendar,
        }
    }

    /// The weather of a day; beyond those invented the last one's.
    pub fn weather(&self, day: u32) -> Weather {
        self.weather[(day as usize).min(self.weather.len() - 1)]
    }
}
