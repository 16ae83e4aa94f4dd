//! Kinds of incidents: how many a day a full city has, where, at which hour, in which weather, and which channel hears of them.
//!
//! Figures are chosen so that channels come out near the sources named in [`crate::statistics`]; those without a source are ours.

use crate::calendar::{Day, DayKind};
use crate::place::address::Spread;
use crate::weather::Weather;

/// How a day's incidents fall on its hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// Office hours.
    Office,
    /// Rush hours.
    Rush,
    /// Evening.
    Evening,
    /// Night.
    Night,
}

const HOURS: [[u16; 24]; 4] = [
    [
        8, 5, 4, 3, 4, 8, 20, 45, 78, 92, 88, 70, 48, 52, 74, 80, 74, 62, 50, 42, 38, 30, 16, 9,
    ],
    [
        10, 7, 5, 4, 5, 14, 36, 78, 84, 56, 48, 48, 50, 46, 46, 52, 66, 86, 76, 54, 44, 38, 28, 19,
    ],
    [
        24, 14, 9, 6, 5, 8, 18, 28, 34, 38, 40, 42, 44, 40, 38, 40, 44, 52, 66, 84, 98, 96, 82, 50,
    ],
    [
        92, 82, 62, 44, 30, 24, 22, 18, 14, 14, 14, 14, 16, 16, 16, 16, 16, 18, 22, 30, 52, 84, 132, 152,
    ],
];

/// What the police file a call under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoliceClass {
    /// Traffic.
    Traffic,
    /// Crime and public order.
    Crime,
    /// Other police matters: help, quarrels, noise.
    Other,
    /// No matter of the police.
    NonPolice,
}

/// When in the year it comes more often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Season {
    /// Whenever.
    None,
    /// Before the Spring Festival and at mid-year, when wages are settled.
    Wages,
    /// From spring to autumn, when sites work.
    Building,
}

/// A kind of incident.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Code in the city's category tree.
    pub code: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// Incidents of a mean day in a full city.
    pub per_day: f64,
    /// Parts per thousand of incidents that come to the hotline where people report as readily as the mean.
    pub hotline: u32,
    /// The same for the police; it does not depend on the place.
    pub police: u32,
    /// The same for petitions.
    pub petition: u32,
    /// Parts per thousand that a patrol with the mean effort finds.
    pub patrol: u32,
    /// Where.
    pub spread: Spread,
    /// When in the day.
    pub rhythm: Rhythm,
    /// Percent on weekends and holidays.
    pub weekend: u32,
    /// Percent more in full rain, heat, cold.
    pub weather: [u32; 3],
    /// When in the year.
    pub season: Season,
    /// What the police file it under.
    pub class: PoliceClass,
    /// The police's own code.
    pub police_code: &'static str,
    /// The hotline's own path.
    pub hotline_path: &'static str,
    /// The grid app's own code.
    pub grid_code: &'static str,
    /// The petition office's own word.
    pub petition_word: &'static str,
    /// Index of the department that handles it, in [`crate::life::UNITS`].
    pub unit: u8,
    /// Index of the one that often must help.
    pub second: u8,
}

macro_rules! kinds {
    ($($code:literal $name:literal $per_day:literal [$hotline:literal $police:literal $petition:literal $patrol:literal]
       $spread:ident $rhythm:ident $weekend:literal [$rain:literal $heat:literal $cold:literal] $season:ident
       $class:ident $police_code:literal $path:literal $grid:literal $word:literal $unit:literal $second:literal;)*) => {
        /// All kinds.
        pub const KINDS: &[Kind] = &[$(Kind {
            code: $code, name: $name, per_day: $per_day, hotline: $hotline, police: $police, petition: $petition, patrol: $patrol,
            spread: Spread::$spread, rhythm: Rhythm::$rhythm, weekend: $weekend, weather: [$rain, $heat, $cold], season: Season::$season,
            class: PoliceClass::$class, police_code: $police_code, hotline_path: $path, grid_code: $grid, petition_word: $word,
            unit: $unit, second: $second,
        }),*];
    };
}

kinds! {
    "environment.rubbish" "暴露垃圾" 430.0 [330 0 1 520] Homes Office 92 [0 40 0] None
        NonPolice "900101" "市容环境/环境卫生/暴露垃圾" "E0102" "生态环境" 1 12;
    "environment.drain" "下水堵塞" 130.0 [600 20 1 200] Homes Office 95 [160 0 10] None
        NonPolice "900102" "市容环境/市政排水/下水堵塞" "C0107" "城乡建设" 5 2;
    "environment.air" "油烟异味" 110.0 [620 10 3 90] Shops Evening 115 [0 60 0] None
        NonPolice "900103" "生态环境/大气污染/油烟异味" "E0119" "生态环境" 4 1;
    "noise.construction" "施工噪声" 140.0 [680 90 2 60] Homes Night 80 [0 0 0] Building
        Other "500201" "生态环境/噪声污染/施工噪声" "E0301" "生态环境" 1 4;
    "noise.living" "生活噪声" 210.0 [420 300 1 0] Homes Night 130 [0 40 0] None
        Other "500202" "生态环境/噪声污染/生活噪声" "E0302" "生态环境" 3 12;
    "traffic.parking" "违法停车" 520.0 [260 480 0 190] Streets Rush 105 [20 0 0] None
        Traffic "300301" "交通管理/停车管理/违法停车" "E0508" "交通运输" 3 1;
    "traffic.accident" "交通事故" 700.0 [8 930 1 0] Streets Rush 96 [35 0 40] None
        Traffic "300101" "交通管理/交通事故/交通事故" "E0507" "交通运输" 3 10;
    "traffic.jam" "交通拥堵" 240.0 [170 560 0 60] Streets Rush 70 [60 0 20] None
        Traffic "300201" "交通管理/交通秩序/交通拥堵" "E0506" "交通运输" 3 10;
    "utility.water" "供水问题" 110.0 [840 40 2 20] Homes Office 95 [0 30 180] None
        NonPolice "900201" "公用事业/供水/停水水压" "C0103" "城乡建设" 5 2;
    "utility.power" "停电" 90.0 [830 60 1 10] Homes Evening 100 [60 220 90] None
        NonPolice "900202" "公用事业/供电/停电" "C0110" "城乡建设" 8 2;
    "utility.gas" "供气供暖" 60.0 [830 60 2 10] Homes Office 95 [0 0 240] None
        NonPolice "900203" "公用事业/燃气供暖/供气供暖" "C0106" "城乡建设" 9 2;
    "housing.property" "物业纠纷" 200.0 [700 120 18 30] Homes Evening 110 [0 0 0] None
        NonPolice "900301" "住房管理/物业管理/物业纠纷" "E0602" "物业管理" 2 12;
    "housing.illegal" "违章搭建" 70.0 [760 10 14 260] Homes Office 90 [0 0 0] None
        NonPolice "900302" "住房管理/违法建设/违章搭建" "E0101" "城乡建设" 1 2;
    "dispute.neighbour" "邻里纠纷" 120.0 [260 450 8 150] Homes Evening 125 [0 30 0] None
        Other "500101" "社会矛盾/民间纠纷/邻里纠纷" "E0701" "民间纠纷" 12 3;
    "dispute.wage" "欠薪" 65.0 [640 200 70 40] Shops Office 70 [0 0 0] Wages
        Other "500102" "劳动保障/工资报酬/拖欠工资" "E0702" "劳动社保" 6 2;
    "dispute.consumer" "消费纠纷" 170.0 [720 180 10 0] Shops Evening 130 [0 0 0] None
        NonPolice "900401" "市场监管/消费维权/消费纠纷" "E0703" "市场监管" 7 12;
    "safety.theft" "盗窃" 120.0 [15 920 2 0] Shops Evening 110 [0 0 0] None
        Crime "100201" "公共安全/治安管理/盗窃" "E0801" "公安政法" 3 12;
    "safety.fraud" "电信网络诈骗" 130.0 [40 920 4 0] Homes Office 90 [0 0 0] None
        Crime "100301" "公共安全/治安管理/诈骗" "E0802" "公安政法" 3 12;
    "safety.assault" "打架斗殴" 110.0 [5 950 2 0] Shops Night 140 [0 40 0] None
        Crime "200101" "公共安全/治安管理/打架斗殴" "E0803" "公安政法" 3 12;
    "safety.fire" "火情" 9.0 [30 320 0 20] Homes Evening 105 [0 40 60] None
        Other "600101" "公共安全/消防安全/火情" "E0804" "公共安全" 11 3;
    "safety.fire_lane" "占用消防通道" 100.0 [480 90 2 300] Homes Evening 105 [0 0 0] None
        NonPolice "900501" "公共安全/消防安全/占用消防通道" "E0805" "公共安全" 11 12;
    "road.damage" "道路破损" 120.0 [440 20 2 380] Streets Office 92 [50 0 30] None
        NonPolice "900601" "市政设施/道路设施/道路破损" "C0201" "城乡建设" 10 1;
    "road.manhole" "井盖缺损" 40.0 [420 60 0 330] Streets Office 95 [40 0 0] None
        NonPolice "900602" "市政设施/道路设施/井盖缺损" "C0101" "城乡建设" 1 5;
    "road.logging" "积水内涝" 6.0 [900 260 1 120] Low Office 100 [4000 0 0] None
        Other "600201" "市政设施/防汛排涝/积水内涝" "E0806" "公共安全" 5 11;
}

/// Index of a kind by its code. The code is one of the table's.
pub fn kind_of(code: &str) -> usize {
    KINDS
        .iter()
        .position(|kind| kind.code == code)
        .expect("the code is in the table")
}

impl Kind {
    /// Percent of the mean that a day has.
    pub fn day_factor(&self, day: &Day, weather: Weather) -> f64 {
        let weekend = match day.kind {
            DayKind::Workday | DayKind::MakeUp => 100 + (100 - self.weekend as i32) * 2 / 5,
            DayKind::Weekend => self.weekend as i32,
            // On holidays many are away or at home, offices are shut.
            DayKind::Holiday => self.weekend as i32 * 85 / 100,
        };
        let season: [u32; 12] = match self.season {
            Season::None => [100; 12],
            Season::Wages => [190, 80, 70, 75, 85, 105, 100, 85, 90, 90, 105, 125],
            Season::Building => [60, 60, 100, 115, 120, 120, 115, 115, 115, 110, 95, 75],
        };
        let extra = |index: usize, share: f64| 1.0 + f64::from(self.weather[index]) / 100.0 * share;
        f64::from(weekend) / 100.0 * f64::from(season[day.month as usize - 1]) / 100.0
            * extra(0, weather.wet())
            * extra(1, weather.heat())
            * extra(2, weather.cold())
    }

    /// Second of the day for a draw in `0..1000` and one in `0..3600`.
    pub fn second(&self, ticket: u32, within: u32) -> u32 {
        let hours = &HOURS[self.rhythm as usize];
        let mut left = ticket * hours.iter().map(|&share| u32::from(share)).sum::<u32>() / 1_000;
        for (hour, &share) in hours.iter().enumerate() {
            if left < u32::from(share) {
                return hour as u32 * 3_600 + within;
            }
            left -= u32::from(share);
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_codes_of_its_own() {
        for (index, kind) in KINDS.iter().enumerate() {
            for other in &KINDS[index + 1..] {
                assert_ne!(kind.code, other.code);
                assert_ne!(kind.police_code, other.police_code);
                assert_ne!(kind.grid_code, other.grid_code);
                assert_ne!(kind.hotline_path, other.hotline_path);
            }
        }
    }

    #[test]
    fn seconds_stay_in_the_day_and_nights_are_noisy() {
        let noise = &KINDS[kind_of("noise.construction")];
        let seconds: Vec<u32> = (0..1_000).map(|ticket| noise.second(ticket, 3_599)).collect();
        assert!(seconds.iter().all(|&second| second < 86_400));
        let late = seconds.iter().filter(|&&second| second >= 21 * 3_600).count();
        assert!(late > 300, "{late}");
    }
}
