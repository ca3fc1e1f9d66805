// Counts what happens to sessions, by day: each change once, in order, none missing.
import com.fasterxml.jackson.databind.JsonNode;
import java.sql.*;

class Follow {
    static final String TABLE = "create table if not exists changes (day text, type text, n int, primary key (day, type))";
    static final String COUNT = "insert into changes values (?, ?, 1) on conflict (day, type) do update set n = changes.n + 1";

    static void count(Connection db, JsonNode event) throws SQLException { // committed with the session's position, or neither is
        String type = event.get("type").asText();
        System.out.println(event.get("sessionId").asText() + " " + event.get("epoch") + " " + event.get("version") + " " + type);
        PreparedStatement statement = db.prepareStatement(COUNT);
        statement.setString(1, event.get("timestamp").asText().substring(0, 10));
        statement.setString(2, type);
        statement.executeUpdate();
    }

    public static void main(String[] arguments) throws Exception {
        Sessions.follow("consumer.follow", TABLE, Follow::count);
    }
}
