"""Reads the cities' records without any of Shiyu's code: bytes to rows, clock texts to instants, plane feet to degrees."""

import csv
import io
import math
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

csv.field_size_limit(1 << 30)

BOM = b"\xef\xbb\xbf"


def decode(raw):
    """UTF-8 where the bytes are valid UTF-8, else Windows-1252. A BOM is cut off and proves nothing."""
    raw = raw.removeprefix(BOM)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def rows(path, names=None):
    """(row number from 1, {canonical column: text, trimmed}) of a CSV file; `names` maps other headers to canonical ones."""
    reader = csv.reader(io.StringIO(decode(Path(path).read_bytes()), newline=""))
    header = [(names or {}).get(name, name) for name in next(reader)]
    for number, row in enumerate(reader, 1):
        if len(row) != len(header):
            raise ValueError(f"{path}: row {number} has {len(row)} fields, header has {len(header)}")
        yield number, {name: text.strip() for name, text in zip(header, row)}


def clock(text, layout, zone):
    """(instant in UTC, local time, shifted, ambiguous) of a clock text. In the spring gap: shifted forward by the gap. Twice: the earlier."""
    written = datetime.strptime(text, layout)
    early = written.replace(tzinfo=ZoneInfo(zone), fold=0)
    late = early.replace(fold=1)
    difference = (late.utcoffset() - early.utcoffset()).total_seconds()
    instant = early.astimezone(timezone.utc)
    return instant, instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None), difference > 0, difference < 0


class TransverseMercator:
    """Inverse transverse Mercator on GRS80, Krüger's series to n^4 (L. Krüger 1912; below 1 µm here). Feet are US survey feet."""

    FOOT_M = 1200 / 3937
    SEMI_MAJOR_M = 6378137.0
    FLATTENING = 1 / 298.257222101

    def __init__(self, lat_0, lon_0, scale, false_easting_m):
        n = self.FLATTENING / (2 - self.FLATTENING)
        self.n, self.lon_0, self.false_easting_m = n, lon_0, false_easting_m
        self.radius_m = scale * self.SEMI_MAJOR_M / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
        self.beta = [
            n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96 - n**4 / 360,
            n**2 / 48 + n**3 / 15 - 437 * n**4 / 1440,
            17 * n**3 / 480 - 37 * n**4 / 840,
            4397 * n**4 / 161280,
        ]
        alpha = [
            n / 2 - 2 * n**2 / 3 + 5 * n**3 / 16 + 41 * n**4 / 180,
            13 * n**2 / 48 - 3 * n**3 / 5 + 557 * n**4 / 1440,
            61 * n**3 / 240 - 103 * n**4 / 140,
            49561 * n**4 / 161280,
        ]
        chi = self._conformal(math.radians(lat_0))
        self.origin = chi + sum(a * math.sin(2 * j * chi) for j, a in enumerate(alpha, 1))

    def _eccentricity(self):
        return math.sqrt(self.FLATTENING * (2 - self.FLATTENING))

    def _conformal(self, lat):
        e = self._eccentricity()
        return math.atan(math.sinh(math.asinh(math.tan(lat)) - e * math.atanh(e * math.sin(lat))))

    def to_lat_lng(self, x_feet, y_feet):
        xi = y_feet * self.FOOT_M / self.radius_m + self.origin
        eta = (x_feet * self.FOOT_M - self.false_easting_m) / self.radius_m
        xi_0 = xi - sum(b * math.sin(2 * j * xi) * math.cosh(2 * j * eta) for j, b in enumerate(self.beta, 1))
        eta_0 = eta - sum(b * math.cos(2 * j * xi) * math.sinh(2 * j * eta) for j, b in enumerate(self.beta, 1))
        isometric = math.asinh(math.sin(xi_0) / math.hypot(math.sinh(eta_0), math.cos(xi_0)))
        e, lat = self._eccentricity(), math.atan(math.sinh(isometric))
        for _ in range(8):
            lat = math.atan(math.sinh(isometric + e * math.atanh(e * math.sin(lat))))
        return math.degrees(lat), self.lon_0 + math.degrees(math.atan2(math.sinh(eta_0), math.cos(xi_0)))


ESRI_102696 = TransverseMercator(35 + 5 / 6, -90.5, 1 - 1 / 15000, 250000.0)
EPSG_3435 = TransverseMercator(36 + 2 / 3, -(88 + 1 / 3), 0.999975, 300000.0)


class LambertConformalConic:
    """Inverse Lambert conformal conic with two standard parallels on GRS80, metres (J. P. Snyder 1987, eqs. 15-1 to 15-11)."""

    def __init__(self, lat_0, lon_0, lat_1, lat_2, false_easting_m, false_northing_m):
        self.e = math.sqrt(TransverseMercator.FLATTENING * (2 - TransverseMercator.FLATTENING))
        self.lon_0, self.false_easting_m, self.false_northing_m = lon_0, false_easting_m, false_northing_m
        m_1, m_2 = self._m(math.radians(lat_1)), self._m(math.radians(lat_2))
        t_0, t_1, t_2 = (self._t(math.radians(lat)) for lat in (lat_0, lat_1, lat_2))
        self.n = (math.log(m_1) - math.log(m_2)) / (math.log(t_1) - math.log(t_2))
        self.scale_m = TransverseMercator.SEMI_MAJOR_M * m_1 / (self.n * t_1**self.n)
        self.rho_0 = self.scale_m * t_0**self.n

    def _m(self, lat):
        return math.cos(lat) / math.sqrt(1 - (self.e * math.sin(lat)) ** 2)

    def _t(self, lat):
        sine = self.e * math.sin(lat)
        return math.tan(math.pi / 4 - lat / 2) / ((1 - sine) / (1 + sine)) ** (self.e / 2)

    def to_lat_lng(self, x_m, y_m):
        x, y = x_m - self.false_easting_m, self.rho_0 - (y_m - self.false_northing_m)
        t = (math.hypot(x, y) / self.scale_m) ** (1 / self.n)
        lat = math.pi / 2 - 2 * math.atan(t)
        for _ in range(12):
            sine = self.e * math.sin(lat)
            lat = math.pi / 2 - 2 * math.atan(t * ((1 - sine) / (1 + sine)) ** (self.e / 2))
        return math.degrees(lat), self.lon_0 + math.degrees(math.atan2(x, y) / self.n)


# The parameters of boundaries/Boston_Nhoods.prj, those of EPSG:26986.
MASSACHUSETTS_M = LambertConformalConic(41, -71.5, 41 + 43 / 60, 42 + 41 / 60, 200000.0, 750000.0)
