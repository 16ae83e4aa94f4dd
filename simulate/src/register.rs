//! What a city keeps beside its feeds: boundaries, addresses, points of interest, roads, people and floor area per cell, calendar, weather,
//! where patrols were.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::SimulateError;
use crate::patrol;
use crate::place::address::Use;
use crate::place::boundary;
use crate::weather::Weather;
use crate::world::World;
use crate::write::files::write_file;

/// Square metres of floor a person has.
const FLOOR_M2: u32 = 38;

/// Writes `areas/` and `registers/` below `out`.
pub fn write(world: &World, out: &Path) -> Result<(), SimulateError> {
    for (level, text) in boundary::files(&world.land) {
        write_file(&out.join("areas").join(format!("{level}.geojson")), text.as_bytes())?;
    }
    let registers = out.join("registers");
    for (name, text) in [
        ("addresses.csv", addresses(world)),
        ("pois.csv", pois(world)),
        ("roads.csv", roads(world)),
        ("cells.csv", cells(world)),
        ("calendar.csv", calendar(world)),
        ("weather.csv", weather(world)),
        ("river.geojson", river(world)),
    ] {
        write_file(&registers.join(name), text.as_bytes())?;
    }
    Ok(())
}

fn addresses(world: &World) -> String {
    let mut text = String::from("address,text,road,number,community_code,use,people,lng,lat,h3_9\n");
    for (index, address) in world.book.addresses.iter().enumerate() {
        let (_, community) = world.land.home(address.quad, 0);
        let used = match address.used {
            Use::Homes => "homes",
            Use::Shops => "shops",
            Use::Public => "public",
            Use::Works => "works",
        };
        write_line(
            &mut text,
            format_args!(
                "{index},{},{},{},{},{used},{},{:.7},{:.7},{:x}",
                address.text,
                world.book.roads[usize::from(address.road)].name,
                address.number,
                world.land.communities[usize::from(community)].code,
                address.people,
                address.place.lng_degrees(),
                address.place.lat_degrees(),
                address.cell
            ),
        );
    }
    text
}

fn write_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a String grows as needed");
    text.push('\n');
}

fn pois(world: &World) -> String {
    let mut text = String::from("name,alias,kind,address\n");
    for poi in &world.book.pois {
        write_line(
            &mut text,
            format_args!("{},{},{},{}", poi.name, poi.alias, poi.kind, poi.address),
        );
    }
    text
}

fn roads(world: &World) -> String {
    let mut text = String::from("road,name,town_code,length_m,line\n");
    for (index, road) in world.book.roads.iter().enumerate() {
        let points: Vec<String> = road
            .line
            .iter()
            .map(|point| format!("{:.7} {:.7}", point.lng_degrees(), point.lat_degrees()))
            .collect();
        let town = &world.land.towns[usize::from(road.town)].code;
        write_line(
            &mut text,
            format_args!(
                "{index},{},{town},{:.0},\"LINESTRING ({})\"",
                road.name,
                length_m(&road.line),
                points.join(", ")
            ),
        );
    }
    text
}

fn length_m(line: &[crate::place::Point]) -> f64 {
    line.windows(2)
        .map(|pair| libm::sqrt(pair[0].square_metres_to(pair[1])))
        .sum()
}

/// People, dwellings, floor area and road length of each cell that has an address.
fn cells(world: &World) -> String {
    #[derive(Default)]
    struct Cell {
        addresses: u32,
        people: u32,
        floor_m2: u32,
        road_m: f64,
    }
    let mut cells: BTreeMap<i64, Cell> = BTreeMap::new();
    let mut on_road: BTreeMap<u16, u32> = BTreeMap::new();
    for address in &world.book.addresses {
        *on_road.entry(address.road).or_default() += 1;
    }
    for address in &world.book.addresses {
        let cell = cells.entry(address.cell).or_default();
        cell.addresses += 1;
        cell.people += address.people;
        cell.floor_m2 += match address.used {
            Use::Homes => address.people * FLOOR_M2,
            Use::Shops => 2_400,
            Use::Public => 5_000,
            Use::Works => 8_000,
        };
        // A road's length is shared among its addresses.
        cell.road_m += length_m(&world.book.roads[usize::from(address.road)].line) / f64::from(on_road[&address.road]);
    }
    let mut text = String::from("h3_9,addresses,people,dwellings,floor_m2,road_m\n");
    for (cell, sums) in &cells {
        write_line(
            &mut text,
            format_args!(
                "{cell:x},{},{},{},{},{:.0}",
                sums.addresses,
                sums.people,
                sums.people * 10 / 27,
                sums.floor_m2,
                sums.road_m
            ),
        );
    }
    text
}

fn calendar(world: &World) -> String {
    let mut text = String::from("date,kind,name\n");
    for day in 0..world.options.days {
        let day = world.calendar.day(day);
        write_line(
            &mut text,
            format_args!(
                "{},{},{}",
                String::from_utf8_lossy(&day.text),
                day.kind.word(),
                day.name
            ),
        );
    }
    text
}

fn weather(world: &World) -> String {
    let mut text = String::from("date,temperature_c,rain_mm\n");
    for day in 0..world.options.days {
        let Weather { temperature, rain } = world.weather(day);
        write_line(
            &mut text,
            format_args!(
                "{},{:.1},{:.1}",
                String::from_utf8_lossy(&world.calendar.day(day).text),
                f64::from(temperature) / 10.0,
                f64::from(rain) / 10.0
            ),
        );
    }
    text
}

fn river(world: &World) -> String {
    let points: Vec<String> = world
        .land
        .river()
        .iter()
        .map(|point| format!("[{:.7},{:.7}]", point.lng_degrees(), point.lat_degrees()))
        .collect();
    format!(
        "{{\"type\":\"FeatureCollection\",\"simulated\":true,\"features\":[{{\"type\":\"Feature\",\"properties\":{{\"name\":\"澜水\"}},\"geometry\":{{\"type\":\"LineString\",\"coordinates\":[{}]}}}}]}}\n",
        points.join(",")
    )
}

/// Minutes that patrols were out in each community, a file a month; `day` is the month's first day within the run.
pub fn write_effort(world: &World, out: &Path, day: u32) -> Result<(), SimulateError> {
    let first = world.calendar.day(day);
    let end = first.next_month.min(world.options.days);
    let mut text = String::from("date,community_code,minutes\n");
    for day in day..end {
        let date = String::from_utf8_lossy(&world.calendar.day(day).text).into_owned();
        for (index, community) in world.land.communities.iter().enumerate() {
            let minutes = patrol::minutes_of(world, index, day);
            write_line(&mut text, format_args!("{date},{},{minutes}", community.code));
        }
    }
    let month = String::from_utf8_lossy(&first.text[..7]).into_owned();
    write_file(
        &out.join("registers").join(format!("patrol_effort_{month}.csv")),
        text.as_bytes(),
    )
}
