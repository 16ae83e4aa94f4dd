import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.Collector;

/**
 * What shiyu's fold does, in Flink SQL: the latest version of every order, and from it the number of orders per cell and hour, kept up to date
 * with every row. A grid stands for H3. Flink's settings lean to speed: hash-map state, no checkpoints, mini-batches, objects reused.
 *
 * <p>usage: Job files FOLDER (of CSV without headers) | kafka SERVERS TOPIC, then PARALLELISM and the file that gets the orders per hour, "hour count" a line.
 */
public final class Job {
    private static final String COLUMNS =
            "order_id STRING, accepted_at TIMESTAMP(3), updated_at TIMESTAMP(3), `source` STRING, category STRING, title STRING,"
                    + " content STRING, address STRING, lng DOUBLE, lat DOUBLE, status STRING, unit STRING,"
                    + " WATERMARK FOR updated_at AS updated_at - INTERVAL '1' DAY";

    private static final String LATEST =
            "CREATE TEMPORARY VIEW latest AS SELECT order_id, accepted_at, lng, lat FROM ("
                    + "SELECT order_id, accepted_at, lng, lat, ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY updated_at DESC) AS newest"
                    + " FROM orders) WHERE newest = 1";

    /** Squares of about the size of an H3 cell of resolution 9. */
    private static final String COUNTS =
            "SELECT `row`, `column`, `hour`, COUNT(*) AS orders FROM (SELECT CAST(FLOOR(lat * 300) AS INT) AS `row`,"
                    + " CAST(FLOOR(lng * 260) AS INT) AS `column`, FLOOR(accepted_at TO HOUR) AS `hour` FROM latest)"
                    + " GROUP BY `row`, `column`, `hour`";

    private Job() {}

    public static void main(String[] words) throws Exception {
        boolean kafka = words[0].equals("kafka");
        String source =
                kafka
                        ? "'connector' = 'kafka', 'properties.bootstrap.servers' = '" + words[1] + "', 'topic' = '" + words[2] + "',"
                                + " 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'"
                        : "'connector' = 'filesystem', 'path' = '" + Path.of(words[1]).toUri() + "',"
                                + " 'source.path.regex-pattern' = '.*\\.csv'";
        Path output = Path.of(words[words.length - 1]);

        Configuration settings = new Configuration();
        Map.of(
                        "state.backend.type", "hashmap",
                        "parallelism.default", words[words.length - 2],
                        "pipeline.object-reuse", "true",
                        "table.exec.mini-batch.enabled", "true",
                        "table.exec.mini-batch.allow-latency", "1 s",
                        "table.exec.mini-batch.size", "20000",
                        "rest.port", "0",
                        "taskmanager.memory.network.min", "64mb",
                        "taskmanager.memory.network.max", "64mb")
                .forEach(settings::setString);
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment(settings);
        StreamTableEnvironment tables = StreamTableEnvironment.create(environment);
        tables.executeSql("CREATE TEMPORARY TABLE orders (" + COLUMNS + ") WITH (" + source + ", 'format' = 'csv')");
        tables.executeSql(LATEST);
        tables.toChangelogStream(tables.sqlQuery(COUNTS)).process(new PerHour(output.toString())).sinkTo(new DiscardingSink<>());
        long begun = System.nanoTime();
        environment.execute();
        System.out.printf("%.3f%n", (System.nanoTime() - begun) / 1e9);
    }

    /** Adds the changes of counts up by the hour; each task writes what it has when the input ends. */
    private static final class PerHour extends ProcessFunction<Row, Void> {
        private final String output;
        private transient Map<LocalDateTime, Long> counts;

        PerHour(String output) {
            this.output = output;
        }

        @Override
        public void processElement(Row change, Context context, Collector<Void> collector) {
            if (counts == null) {
                counts = new TreeMap<>();
            }
            boolean added = change.getKind() == RowKind.INSERT || change.getKind() == RowKind.UPDATE_AFTER;
            long orders = (Long) change.getField(3);
            counts.merge((LocalDateTime) change.getField(2), added ? orders : -orders, Long::sum);
        }

        @Override
        public void close() {
            StringBuilder lines = new StringBuilder();
            if (counts != null) {
                counts.forEach((hour, count) -> lines.append(hour).append(' ').append(count).append('\n'));
            }
            try {
                Files.writeString(Path.of(output + "." + getRuntimeContext().getTaskInfo().getIndexOfThisSubtask()), lines);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }
}
