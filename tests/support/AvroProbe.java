import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import org.apache.avro.Conversions;
import org.apache.avro.LogicalType;
import org.apache.avro.Schema;
import org.apache.avro.data.TimeConversions;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;

/**
 * Apache Avro for Java as a judge. It reads one question a line and answers with one line, both JSON.
 *
 * <p>A question holds `schemas`, texts parsed one after the other by one parser, as Confluent's clients do with
 * references: the last one is meant. With `seed` and `count` the answer holds that many random `records`, each with its
 * `bytes` and its `value`. If Java refuses a schema, `refused` says why.
 */
public final class AvroProbe {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int DEEP = 5;
  private static final GenericData CONVERTING = new GenericData();

  static {
    List.of(
            new Conversions.DecimalConversion(),
            new Conversions.BigDecimalConversion(),
            new Conversions.UUIDConversion(),
            new TimeConversions.DateConversion(),
            new TimeConversions.TimeMillisConversion(),
            new TimeConversions.TimeMicrosConversion(),
            new TimeConversions.TimestampMillisConversion(),
            new TimeConversions.TimestampMicrosConversion(),
            new TimeConversions.TimestampNanosConversion(),
            new TimeConversions.LocalTimestampMillisConversion(),
            new TimeConversions.LocalTimestampMicrosConversion(),
            new TimeConversions.LocalTimestampNanosConversion())
        .forEach(CONVERTING::addLogicalTypeConversion);
  }

  public static void main(String[] arguments) throws Exception {
    PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    BufferedReader questions = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = questions.readLine(); line != null; line = questions.readLine()) {
      ObjectNode answer = JSON.createObjectNode();
      try {
        answer(JSON.readTree(line), answer);
      } catch (Exception | StackOverflowError error) {
        answer.removeAll();
        answer.put("refused", error.toString());
      }
      answers.println(JSON.writeValueAsString(answer));
    }
  }

  private static void answer(JsonNode question, ObjectNode answer) throws Exception {
    Schema.Parser parser = new Schema.Parser().setValidateDefaults(question.path("defaults").asBoolean());
    Schema schema = null;
    for (JsonNode text : question.get("schemas")) {
      schema = parser.parse(text.asText());
    }
    Random random = new Random(question.path("seed").asLong());
    ArrayNode records = answer.putArray("records");
    for (int made = 0; made < question.path("count").asInt(); made++) {
      byte[] bytes = written(schema, some(schema, random, 0), random);
      ObjectNode one = records.addObject();
      one.put("bytes", Base64.getEncoder().encodeToString(bytes));
      one.set("value", tree(schema, read(schema, bytes)));
    }
  }

  /** In blocks that announce their size in bytes, or in those that do not. */
  private static byte[] written(Schema schema, Object value, Random random) throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    EncoderFactory encoders = new EncoderFactory().configureBlockSize(64 + random.nextInt(200));
    BinaryEncoder encoder =
        random.nextBoolean() ? encoders.blockingBinaryEncoder(bytes, null) : encoders.binaryEncoder(bytes, null);
    new GenericDatumWriter<>(schema).write(value, encoder);
    encoder.flush();
    return bytes.toByteArray();
  }

  private static Object read(Schema schema, byte[] bytes) throws Exception {
    return new GenericDatumReader<>(schema).read(null, DecoderFactory.get().binaryDecoder(bytes, null));
  }

  private static Object some(Schema schema, Random random, int depth) {
    switch (schema.getType()) {
      case RECORD:
        GenericData.Record made = new GenericData.Record(schema);
        for (Schema.Field field : schema.getFields()) {
          made.put(field.pos(), some(field.schema(), random, depth + 1));
        }
        return made;
      case UNION:
        List<Schema> branches = schema.getTypes();
        return some(branches.get(depth > DEEP ? 0 : random.nextInt(branches.size())), random, depth + 1);
      case ARRAY:
        List<Object> items = new GenericData.Array<>(4, schema);
        for (int left = depth > DEEP ? 0 : random.nextInt(5); left > 0; left--) {
          items.add(some(schema.getElementType(), random, depth + 1));
        }
        return items;
      case MAP:
        Map<String, Object> entries = new HashMap<>();
        for (int left = depth > DEEP ? 0 : random.nextInt(5); left > 0; left--) {
          entries.put(text(random), some(schema.getValueType(), random, depth + 1));
        }
        return entries;
      case ENUM:
        List<String> symbols = schema.getEnumSymbols();
        return new GenericData.EnumSymbol(schema, symbols.get(random.nextInt(symbols.size())));
      case FIXED:
        return new GenericData.Fixed(schema, bytes(random, schema.getFixedSize()));
      case BYTES:
        return ByteBuffer.wrap(bytes(random, random.nextInt(12)));
      case STRING:
        return text(random);
      case INT:
        return random.nextInt() >> random.nextInt(32);
      case LONG:
        return random.nextLong() >> random.nextInt(64);
      case FLOAT:
        return random.nextBoolean() ? Float.intBitsToFloat(random.nextInt()) : random.nextInt(99) / 4f;
      case DOUBLE:
        return random.nextBoolean() ? Double.longBitsToDouble(random.nextLong()) : random.nextInt(99) / 8d;
      case BOOLEAN:
        return random.nextBoolean();
      default:
        return null;
    }
  }

  private static byte[] bytes(Random random, int size) {
    byte[] bytes = new byte[size];
    random.nextBytes(bytes);
    return bytes;
  }

  private static String text(Random random) {
    if (random.nextInt(4) == 0) {
      return new UUID(random.nextLong(), random.nextLong()).toString();
    }
    StringBuilder text = new StringBuilder();
    for (int left = random.nextInt(9) * random.nextInt(20); left > 0; left--) {
      int point = random.nextInt(1 << (4 + random.nextInt(17)));
      text.appendCodePoint(point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ? '?' : point);
    }
    return text.toString();
  }

  /** The value as JSON. All but null, booleans, whole numbers and texts are lists that begin with what they are. */
  private static JsonNode tree(Schema schema, Object value) {
    LogicalType logical = schema.getLogicalType();
    if (logical == null) {
      return plain(schema, value);
    }
    ArrayNode node = JSON.createArrayNode().add("logical").add(logical.getName());
    return node.add(converted(schema, logical, value)).add(plain(schema, value));
  }

  /** What the logical type makes of the value, as text; null if it makes nothing of it, or a number of absurd length. */
  private static String converted(Schema schema, LogicalType logical, Object value) {
    try {
      Object found = Conversions.convertToLogicalType(value, schema, logical, CONVERTING.getConversionFor(logical));
      if (!(found instanceof BigDecimal)) {
        return found.toString();
      }
      BigDecimal number = (BigDecimal) found;
      return Math.abs((long) number.scale()) > 1000 ? null : number.toPlainString();
    } catch (RuntimeException error) {
      return null;
    }
  }

  private static JsonNode plain(Schema schema, Object value) {
    JsonNodeFactory nodes = JSON.getNodeFactory();
    switch (schema.getType()) {
      case RECORD:
        ObjectNode fields = nodes.objectNode();
        for (Schema.Field field : schema.getFields()) {
          fields.set(field.name(), tree(field.schema(), ((GenericData.Record) value).get(field.pos())));
        }
        return nodes.arrayNode().add("record").add(fields);
      case UNION:
        return tree(schema.getTypes().get(GenericData.get().resolveUnion(schema, value)), value);
      case ARRAY:
        ArrayNode items = nodes.arrayNode();
        ((List<?>) value).forEach(item -> items.add(tree(schema.getElementType(), item)));
        return nodes.arrayNode().add("array").add(items);
      case MAP:
        ObjectNode entries = nodes.objectNode();
        ((Map<?, ?>) value).forEach((key, item) -> entries.set(key.toString(), tree(schema.getValueType(), item)));
        return nodes.arrayNode().add("map").add(entries);
      case FIXED:
        return nodes.arrayNode().add("bytes").add(((GenericData.Fixed) value).bytes());
      case BYTES:
        return nodes.arrayNode().add("bytes").add(((ByteBuffer) value).array());
      case FLOAT:
      case DOUBLE:
        return nodes.arrayNode().add("real").add(Double.toString(((Number) value).doubleValue()));
      case INT:
        return nodes.numberNode((Integer) value);
      case LONG:
        return nodes.numberNode((Long) value);
      case BOOLEAN:
        return nodes.booleanNode((Boolean) value);
      case NULL:
        return nodes.nullNode();
      default:
        return nodes.textNode(value.toString());
    }
  }
}
