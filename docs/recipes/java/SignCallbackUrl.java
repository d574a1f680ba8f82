import java.math.BigInteger;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Signs a callback URL: java SignCallbackUrl.java ADDRESS SOURCE [NAME=VALUE]...
 * The secret is in GATEWAY_SECRET.
 */
public class SignCallbackUrl {
    /** Returns the URL. Parameters: destination, expires (Unix seconds), action, key, messageid, service. */
    public static String sign(
            String address, String source, String secret, Map<String, String> parameters)
            throws GeneralSecurityException {
        StringBuilder text = new StringBuilder(source)
                .append('\n').append(parameters.getOrDefault("destination", ""))
                .append('\n').append(parameters.getOrDefault("expires", ""));
        for (String name : List.of("action", "key", "messageid", "service")) {
            if (parameters.containsKey(name)) {
                text.append('\n').append(name).append('=').append(parameters.get(name));
            }
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
        byte[] signature = mac.doFinal(text.toString().getBytes(StandardCharsets.UTF_8));
        StringBuilder url = new StringBuilder(address).append('?');
        parameters.forEach((name, value) -> url
                .append(name).append('=')
                .append(URLEncoder.encode(value, StandardCharsets.UTF_8)).append('&'));
        return url.append("signature=")
                .append(String.format("%064x", new BigInteger(1, signature))).toString();
    }

    public static void main(String[] arguments) throws GeneralSecurityException {
        Map<String, String> parameters = new LinkedHashMap<>();
        for (String pair : List.of(arguments).subList(2, arguments.length)) {
            String[] both = pair.split("=", 2);
            parameters.put(both[0], both[1]);
        }
        String secret = System.getenv("GATEWAY_SECRET");
        System.out.println(sign(arguments[0], arguments[1], secret, parameters));
    }
}
