import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Queries statusmirror and waits: java ReadAndWait.java BASE NUMBER MESSAGEID SECONDS
 * The API key is in STATUSMIRROR_KEY.
 */
public class ReadAndWait {
    private static final Set<String> FINAL = Set.of("REJECTED", "UNDELIVERED", "DELIVERED", "READ");
    /** Replaces a JSON library, because Java's own library has none. */
    private static final Pattern MESSAGE = Pattern.compile(
            "\"message\":\\{\"id\":\"([^\"]+)\".*?\"channel\":\"\\w+\",\"status\":\"(\\w+)\"");

    private final HttpClient client = HttpClient.newHttpClient();
    private final String base;
    private final String key;

    public ReadAndWait(String base, String key) {
        this.base = base;
        this.key = key;
    }

    /** Returns the response, or an empty text for 404. Throws any other error. */
    private String get(String path, long seconds) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(base + path))
                .header("X-Api-Key", key)
                .timeout(Duration.ofSeconds(seconds + 10))
                .build();
        HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() == 404) {
            return "";
        }
        if (answer.statusCode() != 200) {
            throw new IOException(answer.statusCode() + ": " + answer.body());
        }
        return answer.body();
    }

    /** Returns the messages to a destination: group 1 is the id, group 2 the status. */
    public Matcher messagesTo(String number) throws IOException, InterruptedException {
        String encoded = URLEncoder.encode(number, StandardCharsets.UTF_8);
        return MESSAGE.matcher(get("/api/messagestatus/phonenumber/" + encoded, 0));
    }

    /** Returns the current status. */
    public String status(String messageid) throws IOException, InterruptedException {
        return statusIn(get("/api/messagestatus/" + messageid, 0));
    }

    /** Returns the status when it is final, or the current one after the given time. */
    public String waitUntilFinal(String messageid, long seconds)
            throws IOException, InterruptedException {
        long end = System.nanoTime() + Duration.ofSeconds(seconds).toNanos();
        while (true) {
            long left = Duration.ofNanos(end - System.nanoTime()).plusMillis(999).toSeconds();
            long wait = Math.max(1, Math.min(60, left));
            String path = "/api/messagestatus/" + messageid + "?wait=" + wait + "&until=final";
            String status = statusIn(get(path, wait));
            if (FINAL.contains(status) || System.nanoTime() - end >= 0) {
                return status;
            }
        }
    }

    private static String statusIn(String answer) {
        Matcher message = MESSAGE.matcher(answer);
        return message.find() ? message.group(2) : "unknown";
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        ReadAndWait mirror = new ReadAndWait(arguments[0], System.getenv("STATUSMIRROR_KEY"));
        Matcher messages = mirror.messagesTo(arguments[1]);
        while (messages.find()) {
            System.out.println(messages.group(1) + " " + messages.group(2));
        }
        System.out.println("now " + mirror.status(arguments[2]));
        long seconds = Long.parseLong(arguments[3]);
        System.out.println("then " + mirror.waitUntilFinal(arguments[2], seconds));
    }
}
