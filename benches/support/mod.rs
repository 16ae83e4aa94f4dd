//! What the benchmarks share: invented orders, a made-up city's boundaries, and a child process with its peak memory.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shiyu_connectors::{Delivery, OpenContext};
use shiyu_schemas::city::manifest::FeedManifest;
use tokio_util::sync::CancellationToken;

/// Columns of an order, as `benches/city/feeds/orders.yaml` names them.
pub(crate) const HEADER: &str =
    "order_id,accepted_at,updated_at,source,category,title,content,address,lng,lat,status,unit";
/// South, west, north, east of the made-up city, degrees.
const CITY: [f64; 4] = [37.7, 112.3, 38.1, 112.9];
const CATEGORIES: [(&str, &str); 8] = [
    (
        "暴露垃圾",
        "小区门口垃圾桶已满多日无人清运，夏天气味很大，居民出行不便，希望尽快安排清理并加大清运频次",
    ),
    (
        "下水堵塞",
        "单元楼前下水道堵塞污水外溢，行人无法通过，已联系物业未见处理，请派人疏通并查明原因",
    ),
    (
        "施工噪声",
        "工地夜间施工噪声很大，凌晨仍有渣土车进出，影响老人和学生休息，请核实是否有夜间施工许可",
    ),
    (
        "生活噪声",
        "广场舞音响声音过大持续到晚上十点以后，多次沟通无效，请协调控制音量和时间",
    ),
    (
        "供暖",
        "室内温度只有十四度左右，暖气片上热下凉，报修后维修人员来过一次没有解决，请协调热力公司处理",
    ),
    (
        "供水",
        "早晚高峰水压不足，六楼基本没有水，已经持续一周，请核实是否管网检修并告知恢复时间",
    ),
    (
        "违章停车",
        "消防通道长期被私家车占用，存在安全隐患，请相关部门到现场劝离并设置禁停标志",
    ),
    (
        "信号灯故障",
        "路口信号灯早高峰时段全灭，车辆抢行十分危险，请尽快派人维修并安排疏导",
    ),
];
const ROADS: [&str; 8] = [
    "建设路",
    "迎泽大街",
    "漪汾街",
    "长风街",
    "学府街",
    "并州路",
    "解放路",
    "和平路",
];
const STATES: [&str; 4] = ["已受理", "已派单", "办理中", "已办结"];
const UNITS: [&str; 6] = [
    "市城管局",
    "市住建局",
    "市生态环境局",
    "热力公司",
    "自来水公司",
    "交警支队",
];

/// A small generator of the same numbers everywhere (splitmix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// The next number from 0 to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The fields of order `number`; about 400 bytes together. Every twelfth text holds an invented phone number.
pub(crate) fn order(number: u64, numbers: &mut Numbers) -> [String; 12] {
    let (category, complaint) = CATEGORIES[numbers.below(8) as usize];
    let day = number / 2_000 % 28 + 1;
    let month = number / 56_000 % 12 + 1;
    let (hour, minute, second) = (numbers.below(24), numbers.below(60), numbers.below(60));
    let road = ROADS[numbers.below(8) as usize];
    let house = numbers.below(300) + 1;
    let phone = if number.is_multiple_of(12) {
        format!("，联系电话1{}{:09}", 3 + numbers.below(7), numbers.below(1_000_000_000))
    } else {
        String::new()
    };
    // Denser towards the middle, as cities are.
    let mut middle = || (numbers.unit() + numbers.unit() + numbers.unit()) / 3.0;
    let lat = CITY[0] + (CITY[2] - CITY[0]) * middle();
    let lng = CITY[1] + (CITY[3] - CITY[1]) * middle();
    [
        format!("GD2025{number:010}"),
        format!("2025-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
        format!("2025-{month:02}-{day:02} 23:59:{second:02}"),
        "电话".to_owned(),
        category.to_owned(),
        format!("反映{road}{category}问题"),
        format!("市民来电反映：{road}{house}号附近{complaint}{phone}。"),
        format!("太和市中心区{road}{house}号{}单元{}室", house % 6 + 1, house % 30 + 101),
        format!("{lng:.6}"),
        format!("{lat:.6}"),
        STATES[numbers.below(4) as usize].to_owned(),
        UNITS[numbers.below(6) as usize].to_owned(),
    ]
}

/// Writes boundaries and orders to `folder` and returns the orders' file. Orders that are there already are kept.
pub(crate) fn write_city(folder: &Path, orders: u64) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("district.geojson"), boundaries(3))?;
    std::fs::write(folder.join("community.geojson"), boundaries(20))?;
    let path = folder.join(format!("orders-{orders}.csv"));
    if path.exists() {
        return Ok(path);
    }
    let partial = folder.join("orders.partial");
    let mut file = BufWriter::new(File::create(&partial)?);
    writeln!(file, "{HEADER}")?;
    let mut numbers = Numbers(7);
    for number in 0..orders {
        writeln!(file, "{}", order(number, &mut numbers).join(","))?;
    }
    file.into_inner()?.sync_all()?;
    std::fs::rename(partial, &path)?;
    Ok(path)
}

/// Most versions an order has in [`write_versions`]: one a state.
const VERSIONS_MAX: u64 = STATES.len() as u64;

/// Version `version` of order `number`, from 0, a state each. A twentieth moves by some streets at version 1; a tenth is corrected to the hour after at
/// the last version.
fn order_version(number: u64, version: u64) -> [String; 12] {
    let mut fields = order(number, &mut Numbers(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let (day, seconds) = (fields[1][..11].to_owned(), fields[1][13..].to_owned());
    if version >= 1 && number.is_multiple_of(20) {
        let lng: f64 = fields[8].parse().expect("it was written as a number");
        fields[8] = format!("{:.6}", lng + 0.01);
    }
    if version + 1 == VERSIONS_MAX && number.is_multiple_of(10) {
        let hour: u64 = fields[1][11..13].parse().expect("it was written as a number");
        fields[1] = format!("{day}{:02}{seconds}", (hour + 1) % 24);
    }
    fields[2] = format!("{day}23:{:02}{}", 56 + version, &seconds[3..]);
    STATES[version as usize].clone_into(&mut fields[10]);
    fields
}

/// Writes boundaries to `folder`, and `rows` rows as `orders-0.csv`, `orders-1.csv`, …: orders of `versions` versions each, which come 500
/// orders apart, so that those of different orders are mixed. Of every fiftieth order the last two come the wrong way round. The files
/// follow each other.
pub(crate) fn write_versions(folder: &Path, rows: u64, versions: u64, files: u64) -> std::io::Result<()> {
    assert!(
        (1..=VERSIONS_MAX).contains(&versions),
        "an order has 1 to {VERSIONS_MAX} versions"
    );
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("district.geojson"), boundaries(3))?;
    std::fs::write(folder.join("community.geojson"), boundaries(20))?;
    let (orders, apart) = (rows / versions, 500);
    let mut all = (0..orders + versions * apart).flat_map(|slot| {
        (0..versions).filter_map(move |turn| {
            let number = slot.checked_sub(turn * apart).filter(|number| *number < orders)?;
            let swapped = versions >= 2 && turn + 2 >= versions && number.is_multiple_of(50);
            let version = if swapped { 2 * versions - 3 - turn } else { turn };
            Some(order_version(number, version))
        })
    });
    let per_file = (orders * versions).div_ceil(files) as usize;
    for number in 0..files {
        let mut file = BufWriter::new(File::create(folder.join(format!("orders-{number}.csv")))?);
        writeln!(file, "{HEADER}")?;
        for fields in all.by_ref().take(per_file) {
            writeln!(file, "{}", fields.join(","))?;
        }
        file.into_inner()?.sync_all()?;
    }
    Ok(())
}

/// A grid of `side` × `side` quadrangles with crooked borders of many vertices, that cover the city.
fn boundaries(side: u32) -> String {
    let point = |row: u32, column: u32, steps: u32| {
        let (at_row, at_column) = (f64::from(row) / f64::from(steps), f64::from(column) / f64::from(steps));
        let lat = CITY[0] + (CITY[2] - CITY[0]) * at_row / f64::from(side);
        let lng = CITY[1] + (CITY[3] - CITY[1]) * at_column / f64::from(side);
        // The same shift for both neighbours of a border.
        let shift = 0.003 * (at_row * 7.1 + at_column * 3.3).sin();
        format!(
            "[{:.6},{:.6}]",
            lng + shift,
            lat + 0.003 * (at_row * 2.7 + at_column * 5.9).sin()
        )
    };
    let mut features = Vec::new();
    let steps = 8;
    for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
        let (south, west) = (row * steps, column * steps);
        let (north, east) = (south + steps, west + steps);
        let ring = (west..east)
            .map(|at| point(south, at, steps))
            .chain((south..north).map(|at| point(at, east, steps)))
            .chain((west + 1..=east).rev().map(|at| point(north, at, steps)))
            .chain((south..=north).rev().map(|at| point(at, west, steps)));
        let mut feature = String::new();
        write!(
            feature,
            r#"{{"type":"Feature","properties":{{"code":"{row:02}{column:02}","name":"第{row}-{column}片"}},"geometry":{{"type":"Polygon","coordinates":[[{}]]}}}}"#,
            ring.collect::<Vec<_>>().join(",")
        )
        .expect("a String takes what is written to it");
        features.push(feature);
    }
    format!(
        r#"{{"type":"FeatureCollection","features":[{}]}}"#,
        features.join(",\n")
    )
}

/// Gives what our connector reads of the orders to `take`, delivery by delivery.
pub(crate) fn read_orders(manifest: &FeedManifest, folder: &Path, input: &Path, mut take: impl FnMut(Delivery)) {
    let context = OpenContext {
        variables: BTreeMap::new(),
        inputs: vec![input.to_owned()],
        city_folder: folder.to_owned(),
        positions: BTreeMap::new(),
        watch: false,
        batch_rows: 16_384,
        stop: CancellationToken::new(),
    };
    let connector = shiyu_connectors::find("file", "orders").expect("the connector is one of ours");
    let mut reader = connector.open(manifest, context).expect("the settings are ours");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        while let Some(delivery) = reader.next().await.expect("the orders can be read") {
            take(delivery);
        }
    });
}

/// How long a child took, and the most memory it held, bytes.
pub(crate) struct Ran {
    /// Wall time.
    pub(crate) time: Duration,
    /// CPU time of all its threads, to 0.02 s.
    pub(crate) cpu: Duration,
    /// Resident set at its largest, bytes.
    pub(crate) peak_bytes: u64,
    /// What it printed.
    pub(crate) output: String,
}

/// Runs a child to its end.
pub(crate) fn run(command: &mut Command) -> std::io::Result<Ran> {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?;
    let mut stdout = child.stdout.take().expect("stdout is a pipe");
    let reading = std::thread::spawn(move || {
        let mut output = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut output).map(|_| output)
    });
    let (mut peak_bytes, mut cpu) = (0, Duration::ZERO);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak_bytes = peak_bytes.max(peak_of(child.id()));
        cpu = cpu.max(cpu_of(&child.id().to_string()));
        std::thread::sleep(Duration::from_millis(10));
    };
    let time = begun.elapsed();
    let output = reading.join().expect("reading a pipe does not panic")?;
    if !status.success() {
        return Err(std::io::Error::other(format!(
            "{command:?} ended with {status}: {output}"
        )));
    }
    Ok(Ran {
        time,
        cpu,
        peak_bytes,
        output,
    })
}

/// CPU time of a process (`self` or its id), user and system; 0 where it has ended.
pub(crate) fn cpu_of(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name in brackets; fields 14 and 15 of the whole, hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// The kernel's own high-water mark of a process, bytes; 0 where it has ended.
pub(crate) fn peak_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
