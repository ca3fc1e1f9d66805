// Follows every session: each change once, in order, none missing. com.rabbitmq:amqp-client, com.fasterxml.jackson.core:jackson-databind
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.rabbitmq.client.*;
import java.io.IOException;
import java.net.URI;
import java.net.http.*;
import java.util.*;

public class Follow {
    record Position(int epoch, int version) {
        boolean isAfter(Position o) { return epoch > o.epoch || epoch == o.epoch && version > o.version; }
        static Position of(JsonNode event) { return new Position(event.get("epoch").asInt(), event.get("version").asInt()); }
    }

    static final ObjectMapper json = new ObjectMapper();
    static final Map<String, Position> seen = new HashMap<>(); // keep it where the effect is kept, or the effect may come twice

    static void act(String session, JsonNode event) { // what this service is for
        Position at = Position.of(event);
        System.out.println(session + " " + at.epoch + " " + at.version + " " + event.get("type").asText());
        seen.put(session, at);
    }

    static JsonNode missed(String session, Position at) throws Exception {
        String url = System.getenv("HANDOFF_URL") + "/sessions/" + session + "/deltas?since=" + at.version + "&epoch=" + at.epoch + "&limit=100";
        HttpRequest request = HttpRequest.newBuilder(URI.create(url)).header("Authorization", "Bearer " + System.getenv("HANDOFF_TOKEN")).build();
        JsonNode answer = json.readTree(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body());
        if (!answer.path("complete").asBoolean()) throw new IOException("too long ago: GET the session and begin again from there");
        return answer.get("items");
    }

    static void take(Delivery message) throws Exception {
        JsonNode event = json.readTree(message.getBody());
        if (message.getProperties().getMessageId().split(":").length != 3) return; // no version: joined, broadcast, …
        String session = event.get("sessionId").asText();
        Position is = Position.of(event), at = seen.get(session);
        while (at != null && is.isAfter(new Position(at.epoch, at.version + 1))) {
            for (JsonNode earlier : missed(session, at)) if (is.isAfter(Position.of(earlier))) act(session, earlier);
            if (seen.get(session).equals(at)) break;
            at = seen.get(session);
        }
        if (at == null || is.isAfter(at)) act(session, event); // else it was told again
    }

    public static void main(String[] arguments) throws Exception {
        String name = System.getenv().getOrDefault("QUEUE", "consumer.follow");
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        Channel channel = factory.newConnection().createChannel();
        channel.exchangeDeclare(name + ".dead", "fanout", true);
        channel.queueDeclare(name + ".dead", true, false, false, null);
        channel.queueBind(name + ".dead", name + ".dead", "");
        channel.queueDeclare(name, true, false, false, Map.of("x-dead-letter-exchange", name + ".dead"));
        channel.queueBind(name, "session_updates", "session.#");
        channel.basicQos(100);
        System.out.println("following");
        channel.basicConsume(name, false, (tag, message) -> {
            long delivery = message.getEnvelope().getDeliveryTag();
            try {
                take(message);
                channel.basicAck(delivery, false); // after the effect: else a crash would lose it
            } catch (Exception error) { // to our own dead letters, so that one bad message does not stop the rest
                System.out.println("set aside: " + error.getMessage());
                channel.basicNack(delivery, false, false);
            }
        }, tag -> System.exit(1));
    }
}
