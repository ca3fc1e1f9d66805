// Every change of every session once, in order, none missing, for a service with a PostgreSQL database of its own: copy this file beside
// your program. com.rabbitmq:amqp-client, com.fasterxml.jackson.core:jackson-databind, org.postgresql:postgresql. Where the servers are is in
// the environment: AMQP_URL, DATABASE_URL (as JDBC writes it), HANDOFF_URL, HANDOFF_TOKEN.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

class Sessions {
    interface Effect {
        void apply(Connection db, JsonNode event) throws Exception;
    }

    record Position(long epoch, long version) {}

    /** Handoff does not answer as it should; it passes. */
    @SuppressWarnings("serial")
    static class Away extends IOException {
        Away(String what, Throwable cause) { super(what, cause); }
    }

    static final String POSITIONS =
        "create table if not exists handoff_positions (session text primary key, epoch bigint not null, version bigint not null)";
    static final String REACHED = "select epoch, version from handoff_positions where session = ?";
    static final String ADVANCE = """
        insert into handoff_positions as at values (?, ?, ?) on conflict (session) do update set epoch = excluded.epoch,
        version = excluded.version where (at.epoch, at.version) < (excluded.epoch, excluded.version)""";

    private final ObjectMapper json = new ObjectMapper();
    private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
    private final Connection db;
    private final Channel channel;
    private final Effect effect;

    private Sessions(Connection db, Channel channel, Effect effect) {
        this.db = db;
        this.channel = channel;
        this.effect = effect;
    }

    /**
     * Calls the effect in the transaction that moves the session's position. schema: SQL that makes the effect's tables. Throws when a
     * server is away: to be started again; what was not acknowledged comes again.
     */
    static void follow(String queue, String schema, Effect effect) throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        factory.setAutomaticRecoveryEnabled(false);
        try (Connection db = DriverManager.getConnection(System.getenv("DATABASE_URL"));
                com.rabbitmq.client.Connection connection = factory.newConnection()) {
            db.createStatement().execute(POSITIONS + ";" + schema);
            db.setAutoCommit(false);
            Channel channel = connection.createChannel();
            declare(channel, queue);
            BlockingQueue<Optional<Delivery>> waiting = new LinkedBlockingQueue<>(); // no longer than the prefetch
            channel.basicConsume(queue, false, (tag, message) -> waiting.add(Optional.of(message)),
                tag -> waiting.add(Optional.empty()), (tag, reason) -> waiting.add(Optional.empty()));
            System.out.println("following");
            Sessions sessions = new Sessions(db, channel, effect);
            for (Optional<Delivery> message; (message = waiting.take()).isPresent();) sessions.handle(message.get());
            throw new IOException("the broker or the queue is gone");
        }
    }

    private static void declare(Channel channel, String queue) throws IOException {
        channel.exchangeDeclare(queue + ".dead", "fanout", true);
        channel.queueDeclare(queue + ".dead", true, false, false, null);
        channel.queueBind(queue + ".dead", queue + ".dead", "");
        channel.queueDeclare(queue, true, false, false, Map.of("x-dead-letter-exchange", queue + ".dead"));
        channel.queueBind(queue, "session_updates", "session.#");
        channel.basicQos(100);
    }

    private void handle(Delivery message) throws Exception {
        long delivery = message.getEnvelope().getDeliveryTag();
        try {
            boolean isVersion = message.getProperties().getMessageId().split(":").length == 3; // what is none (joined, …) has a UUID there
            if (isVersion) take(json.readTree(message.getBody()));
        } catch (Exception error) {
            if (error instanceof Away || !db.isValid(10)) throw error; // to set aside all that comes meanwhile would help nobody
            System.out.println("set aside: " + error.getMessage()); // to our own dead letters, so that one bad message does not stop the rest
            channel.basicNack(delivery, false, false);
            return;
        }
        channel.basicAck(delivery, false); // after the effect: else a crash would lose it
    }

    /** Acts upon what is missing before the event, then upon the event. */
    private void take(JsonNode event) throws Exception {
        String session = event.get("sessionId").asText();
        long epoch = event.get("epoch").asLong(), version = event.get("version").asLong();
        for (Position at; epoch != (at = reached(session)).epoch || version > at.version + 1;) {
            JsonNode missed = ask(session + "/deltas?since=" + at.version + "&epoch=" + at.epoch + "&limit=100");
            if (missed != null && !missed.get("complete").asBoolean()) { // too long ago, or rebuilt in another epoch
                JsonNode now = ask(session); // begin again from what it is now
                if (now != null) act(stateSync(now));
                break;
            }
            if (missed == null || missed.get("items").isEmpty()) break;
            for (JsonNode earlier : missed.get("items")) act(earlier);
        }
        act(event);
    }

    private JsonNode stateSync(JsonNode session) {
        ObjectNode event = json.createObjectNode().put("type", "state_sync");
        event.set("sessionId", session.get("id"));
        event.set("epoch", session.get("epoch"));
        event.set("version", session.get("version"));
        event.set("timestamp", session.get("updatedAt"));
        return event.set("session", session);
    }

    private Position reached(String session) throws SQLException {
        try (PreparedStatement select = db.prepareStatement(REACHED)) {
            select.setString(1, session);
            ResultSet row = select.executeQuery();
            return row.next() ? new Position(row.getLong(1), row.getLong(2)) : new Position(1, 0); // of what is new to this service all
        } finally {
            db.rollback();
        }
    }

    private void act(JsonNode event) throws Exception {
        try (PreparedStatement advance = db.prepareStatement(ADVANCE)) {
            advance.setString(1, event.get("sessionId").asText());
            advance.setLong(2, event.get("epoch").asLong());
            advance.setLong(3, event.get("version").asLong());
            if (advance.executeUpdate() == 1) effect.apply(db, event); // else it was told before, to this process or another
            db.commit();
        } finally {
            db.rollback(); // nothing is left of it after a commit
        }
    }

    /** What GET /sessions/{path} answers; null: the session is not there any more. */
    private JsonNode ask(String path) throws IOException, InterruptedException {
        try {
            HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("HANDOFF_URL") + "/sessions/" + path))
                .header("Authorization", "Bearer " + System.getenv("HANDOFF_TOKEN")).timeout(Duration.ofSeconds(10)).build();
            HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() == 404) return null;
            if (answer.statusCode() != 200) throw new IOException("HTTP " + answer.statusCode());
            return json.readTree(answer.body());
        } catch (IOException error) {
            throw new Away("GET /sessions/" + path + ": " + error.getMessage(), error);
        }
    }
}
