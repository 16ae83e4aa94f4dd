import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;

/**
 * Drives both JDBC drivers that DBeaver loads: connect, list catalogs, tables and columns, run a prepared query.
 *
 * <p>Arguments: FLIGHT_HOST:PORT POSTGRES_HOST:PORT TOKEN SQL, the last two may be empty. With SQL, its rows are printed by both,
 * tab-separated, each line after the driver's name.
 */
public final class Drivers {
    private static final Set<String> TABLES =
        Set.of("events", "cases", "withdrawals", "cells", "scores", "rejections", "areas", "feeds", "categories");

    public static void main(String[] arguments) throws Exception {
        String token = arguments.length > 2 ? arguments[2] : "";
        String sql = arguments.length > 3 ? arguments[3] : "";
        Properties flight = new Properties();
        flight.put("useEncryption", Boolean.toString(!token.isEmpty()));
        Properties postgres = new Properties();
        if (token.isEmpty()) {
            postgres.put("user", "analyst");
        } else {
            flight.put("user", "analyst");
            flight.put("password", token);
            flight.put("disableCertificateVerification", "true");
            postgres.put("user", "analyst");
            postgres.put("password", token);
            postgres.put("sslmode", "require");
        }
        drive("flight", "jdbc:arrow-flight-sql://" + arguments[0] + "/", flight, sql);
        drive("postgres", "jdbc:postgresql://" + arguments[1] + "/shiyu", postgres, sql);
        if (sql.isEmpty()) {
            System.out.println("ok: jdbc (flight sql, postgresql)");
        }
    }

    private static void drive(String name, String url, Properties properties, String sql) throws SQLException {
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            if (!sql.isEmpty()) {
                try (PreparedStatement statement = connection.prepareStatement(sql); ResultSet rows = statement.executeQuery()) {
                    print(name, rows);
                }
                return;
            }
            check(name, connection);
        }
    }

    private static void check(String name, Connection connection) throws SQLException {
        DatabaseMetaData metadata = connection.getMetaData();
        expect(name + " keywords", metadata.getSQLKeywords() != null);
        expect(name + " product", metadata.getDatabaseProductName() != null && metadata.getDatabaseProductVersion() != null);
        expect(name + " catalogs", strings(metadata.getCatalogs(), "TABLE_CAT").contains("shiyu"));
        expect(name + " schemas", strings(metadata.getSchemas(), "TABLE_SCHEM").contains("core"));
        expect(name + " table types", !strings(metadata.getTableTypes(), "TABLE_TYPE").isEmpty());
        Set<String> tables = strings(metadata.getTables(null, "core", "%", null), "TABLE_NAME");
        expect(name + " tables " + tables, tables.containsAll(TABLES));
        Set<String> columns = strings(metadata.getColumns(null, "core", "events", "%"), "COLUMN_NAME");
        expect(name + " columns " + columns, columns.containsAll(Set.of("feed", "record_id", "cell", "occurred_at", "local_month")));
        strings(metadata.getPrimaryKeys(null, "core", "events"), "COLUMN_NAME");
        if (name.equals("flight")) {
            // PostgreSQL's driver computes foreign keys in a query the door cannot plan; there are none to list.
            strings(metadata.getImportedKeys(null, "core", "events"), "FKCOLUMN_NAME");
        }
        strings(metadata.getTypeInfo(), "TYPE_NAME");
        long all = number(connection, "SELECT count(*) FROM events", null);
        long byFeed = 0;
        for (String feed : strings(connection.createStatement().executeQuery("SELECT DISTINCT feed FROM events"), "feed")) {
            byFeed += number(connection, "SELECT count(*) FROM events WHERE feed = ?", feed);
        }
        expect(name + " counts", all == byFeed);
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

    private static void print(String name, ResultSet rows) throws SQLException {
        int columns = rows.getMetaData().getColumnCount();
        while (rows.next()) {
            List<String> values = new ArrayList<>();
            for (int column = 1; column <= columns; column++) {
                String value = rows.getString(column);
                values.add(value == null ? "" : value);
            }
            System.out.println(name + "\t" + String.join("\t", values));
        }
    }

    private static void expect(String what, boolean holds) {
        if (!holds) {
            throw new AssertionError("FAILED: " + what);
        }
    }

    private Drivers() {}
}
