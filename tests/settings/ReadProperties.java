import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Properties;

/** Reads texts, one a line in Base64, as java.util.Properties does. Writes "name:value " for each property, or "!". */
public class ReadProperties {
    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line; (line = lines.readLine()) != null; ) {
            var written = new StringBuilder();
            try {
                var properties = new Properties();
                var text = new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8);
                properties.load(new StringReader(text));
                properties.forEach((name, value) -> written.append(coded(name)).append(':').append(coded(value)).append(' '));
            } catch (IllegalArgumentException malformed) {
                written.append('!');
            }
            System.out.println(written);
        }
    }

    private static String coded(Object text) {
        return Base64.getEncoder().encodeToString(((String) text).getBytes(StandardCharsets.UTF_16BE));
    }
}
