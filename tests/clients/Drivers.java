import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Calendar;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.TimeZone;
import java.util.TreeSet;

/**
 * Drives both JDBC drivers that DBeaver loads.
 *
 * <p>{@code check FLIGHT_HOST:PORT POSTGRES_HOST:PORT}: connects, asks for everything DBeaver asks for when it shows a database, runs a
 * prepared query.
 *
 * <p>{@code rows FLIGHT_HOST:PORT POSTGRES_HOST:PORT TABLE…}: prints the rows of tables as typed values, one line each: driver, table,
 * columns, separated by tabs. NULL is {@code \N}, times are microseconds since 1970, doubles ten-millionths.
 */
public final class Drivers {
    private static final Set<String> TABLES =
        Set.of("events", "cases", "withdrawals", "cells", "scores", "rejections", "areas", "feeds", "categories", "epochs");
    private static final Calendar UTC = Calendar.getInstance(TimeZone.getTimeZone("UTC"));

    public static void main(String[] arguments) throws SQLException {
        List<String> tables = Arrays.asList(arguments).subList(3, arguments.length);
        Properties flight = new Properties();
        flight.put("useEncryption", "false");
        Properties postgres = new Properties();
        postgres.put("user", "analyst");
        drive("flight", "jdbc:arrow-flight-sql://" + arguments[1] + "/", flight, tables);
        drive("postgres", "jdbc:postgresql://" + arguments[2] + "/shiyu", postgres, tables);
        if (tables.isEmpty()) {
            System.out.println("ok: jdbc (flight sql, postgresql)");
        }
    }

    private static void drive(String name, String url, Properties properties, List<String> tables) throws SQLException {
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            if (tables.isEmpty()) {
                check(name, connection);
            }
            for (String table : tables) {
                try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM " + table)) {
                    print(name + "\t" + table, statement.executeQuery());
                }
            }
        }
    }

    private static void check(String name, Connection connection) throws SQLException {
        DatabaseMetaData metadata = connection.getMetaData();
        expect(name + " keywords", metadata.getSQLKeywords() != null);
        expect(name + " product", metadata.getDatabaseProductName() != null && metadata.getDatabaseProductVersion() != null);
        expect(name + " functions", metadata.getSystemFunctions() != null && metadata.getNumericFunctions() != null);
        expect(name + " catalogs", strings(metadata.getCatalogs(), "TABLE_CAT").contains("shiyu"));
        expect(name + " schemas", strings(metadata.getSchemas(), "TABLE_SCHEM").contains("core"));
        expect(name + " schemas by name", strings(metadata.getSchemas(null, "co%"), "TABLE_SCHEM").equals(Set.of("core")));
        expect(name + " table types", !strings(metadata.getTableTypes(), "TABLE_TYPE").isEmpty());
        Set<String> tables = strings(metadata.getTables(null, "core", "%", null), "TABLE_NAME");
        expect(name + " tables " + tables, tables.equals(TABLES));
        Set<String> shown = strings(metadata.getTables("shiyu", "core", "c%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME");
        expect(name + " tables by name and type " + shown, shown.equals(Set.of("cases", "cells", "categories")));
        for (String table : TABLES) {
            columns(name, connection, table);
            keys(name, metadata, table);
        }
        if (name.equals("postgres")) {
            comments(metadata);
            strings(metadata.getFunctions(null, null, "h3%"), "FUNCTION_NAME");
            strings(metadata.getProcedures(null, null, "%"), "PROCEDURE_NAME");
            strings(metadata.getFunctionColumns(null, null, "%", "%"), "COLUMN_NAME");
            strings(metadata.getUDTs(null, "core", "%", null), "TYPE_NAME");
            strings(metadata.getTablePrivileges(null, "core", "events"), "PRIVILEGE");
            strings(metadata.getColumnPrivileges(null, "core", "events", "%"), "PRIVILEGE");
            expect("isolation", metadata.getDefaultTransactionIsolation() == Connection.TRANSACTION_READ_COMMITTED);
        }
        // The Flight SQL driver asks the server for no types.
        Set<String> types = strings(metadata.getTypeInfo(), "TYPE_NAME");
        expect(name + " types " + types, name.equals("flight") || types.containsAll(Set.of("text", "int8", "timestamptz")));
        queries(name, connection);
    }

    /** What getColumns lists is what a query over the table gives, in order. */
    private static void columns(String name, Connection connection, String table) throws SQLException {
        List<String> listed = new ArrayList<>();
        try (ResultSet rows = connection.getMetaData().getColumns(null, "core", table, "%")) {
            while (rows.next()) {
                expect(name + " type of " + table, rows.getInt("DATA_TYPE") != Types.OTHER && rows.getString("TYPE_NAME") != null);
                listed.add(rows.getString("COLUMN_NAME"));
            }
        }
        List<String> given = new ArrayList<>();
        try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM " + table + " LIMIT 0");
            ResultSet rows = statement.executeQuery()) {
            for (int column = 1; column <= rows.getMetaData().getColumnCount(); column++) {
                given.add(rows.getMetaData().getColumnName(column));
            }
        }
        expect(name + " columns of " + table + ": " + listed + " " + given, listed.equals(given) && !given.isEmpty());
    }

    /** There are no keys and no indexes; a client that asks is told so, not that the question is wrong. */
    private static void keys(String name, DatabaseMetaData metadata, String table) throws SQLException {
        Set<String> found = strings(metadata.getPrimaryKeys(null, "core", table), "COLUMN_NAME");
        found.addAll(strings(metadata.getImportedKeys(null, "core", table), "FKCOLUMN_NAME"));
        found.addAll(strings(metadata.getExportedKeys(null, "core", table), "FKCOLUMN_NAME"));
        found.addAll(strings(metadata.getCrossReference(null, "core", table, null, "core", "events"), "FKCOLUMN_NAME"));
        if (name.equals("postgres")) {
            found.addAll(strings(metadata.getIndexInfo(null, "core", table, false, true), "INDEX_NAME"));
            found.addAll(strings(metadata.getBestRowIdentifier(null, "core", table, DatabaseMetaData.bestRowSession, true), "COLUMN_NAME"));
        }
        expect(name + " keys of " + table + " " + found, found.isEmpty());
    }

    private static void comments(DatabaseMetaData metadata) throws SQLException {
        for (String table : TABLES) {
            Set<String> remarks = strings(metadata.getTables(null, "core", table, null), "REMARKS");
            expect("comment of " + table + " " + remarks, remarks.size() == 1);
            Set<String> columns = strings(metadata.getColumns(null, "core", table, "%"), "COLUMN_NAME");
            int commented = 0;
            try (ResultSet rows = metadata.getColumns(null, "core", table, "%")) {
                while (rows.next()) {
                    commented += rows.getString("REMARKS") == null ? 0 : 1;
                }
            }
            expect("comments of columns of " + table + ": " + commented, commented == columns.size());
        }
    }

    private static void queries(String name, Connection connection) throws SQLException {
        long all = number(connection, "SELECT count(*) FROM events", null);
        long byFeed = 0;
        for (String feed : strings(connection.createStatement().executeQuery("SELECT DISTINCT feed FROM events"), "feed")) {
            byFeed += number(connection, "SELECT count(*) FROM events WHERE feed = ?", feed);
        }
        expect(name + " counts", all == byFeed && all > 0);
        try (ResultSet rows = connection.createStatement().executeQuery("SELECT gcj02_to_wgs84(30.2, 120.2) AS place, h3_grid_disk(617700169958293503, 1) AS cells")) {
            expect(name + " struct and list", rows.next() && rows.getString("place") != null && rows.getString("cells") != null);
        }
    }

    private static long number(Connection connection, String sql, String parameter) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            if (parameter != null) {
                statement.setString(1, parameter);
            }
            // A driver may prepare on the server after some uses only.
            long last = -1;
            for (int use = 0; use < 7; use++) {
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    last = rows.getLong(1);
                }
            }
            return last;
        }
    }

    private static Set<String> strings(ResultSet rows, String column) throws SQLException {
        Set<String> values = new TreeSet<>();
        try (rows) {
            while (rows.next()) {
                String value = rows.getString(column);
                if (value != null) {
                    values.add(value);
                }
            }
        }
        return values;
    }

    private static void print(String prefix, ResultSet rows) throws SQLException {
        ResultSetMetaData metadata = rows.getMetaData();
        StringBuilder lines = new StringBuilder();
        while (rows.next()) {
            lines.append(prefix);
            for (int column = 1; column <= metadata.getColumnCount(); column++) {
                lines.append('\t').append(value(rows, column, metadata.getColumnType(column)));
            }
            lines.append('\n');
        }
        rows.close();
        System.out.print(lines);
    }

    private static String value(ResultSet rows, int column, int type) throws SQLException {
        String value = switch (type) {
            case Types.TIMESTAMP, Types.TIMESTAMP_WITH_TIMEZONE -> microseconds(rows.getTimestamp(column, UTC));
            case Types.DOUBLE, Types.FLOAT, Types.REAL -> Long.toString(Math.round(rows.getDouble(column) * 1e7));
            case Types.BOOLEAN, Types.BIT -> Boolean.toString(rows.getBoolean(column));
            case Types.BIGINT, Types.INTEGER, Types.SMALLINT -> Long.toString(rows.getLong(column));
            case Types.DATE -> String.valueOf(rows.getDate(column));
            default -> rows.getString(column);
        };
        return rows.wasNull() || value == null ? "\\N" : value;
    }

    private static String microseconds(Timestamp timestamp) {
        if (timestamp == null) {
            return null;
        }
        Instant instant = timestamp.toInstant();
        return Long.toString(instant.getEpochSecond() * 1_000_000 + instant.getNano() / 1_000);
    }

    private static void expect(String what, boolean holds) {
        if (!holds) {
            throw new AssertionError("FAILED: " + what);
        }
    }

    private Drivers() {}
}
