"""Short made-up film reviews in which the order of the words decides.

A small grammar with polarity writes the reviews. A template holds slots: `{adj}` asks
for an adjective with the polarity of the template itself, `{-adj}` for one with the
opposite polarity, and a slot may ask for a whole clause, which has slots of its own.
So "critics say that {-claim}. They are wrong." is a positive sentence about a negative
claim, and the claim may in turn be "it is not {-adj}". Every template serves both
labels, most words therefore occur equally often in both, and what tells the labels
apart is who says a thing, whether it is denied, and what comes last.

The test split is held out twice. Its templates are all its own, and so are its titles,
names, places, characters, people with opinions and parts of a film. The sentiment words
of `SENTIMENT` serve both splits, since a model can know a word only from training; those
of `UNSEEN_SENTIMENT` are for the test split alone, and its templates put them only
where a known word beside them ("not only {unseen} but also {adj}") settles the label.
"""

import random
import re

import numpy as np

# Each kind of sentiment word: (negative, positive), so that a label is the index.
SENTIMENT = {
    "adj": (
        "awful terrible dull boring clumsy dreadful tedious lifeless horrible lame "
        "stale tiresome pointless forgettable miserable feeble shallow bland sloppy "
        "annoying".split(),
        "wonderful fantastic brilliant gripping charming superb delightful lovely "
        "excellent splendid fresh inspired beautiful memorable marvelous thrilling "
        "clever impressive elegant amazing".split(),
    ),
    "plain": ("bad poor weak".split(), "good great fine".split()),
    "superb": (
        "awful terrible dreadful horrible miserable appalling".split(),
        "fantastic wonderful superb brilliant amazing marvelous".split(),
    ),
    "noun": (
        "disaster mess failure bore disappointment flop chore nightmare".split(),
        "masterpiece delight triumph gem joy treat marvel success".split(),
    ),
    "love": (
        "hate dislike detest loathe despise".split(),
        "love enjoy adore like admire".split(),
    ),
    "loved": (
        "hated disliked detested loathed despised".split(),
        "loved enjoyed adored liked admired".split(),
    ),
    "happy": (
        "bored annoyed disappointed angry irritated frustrated".split(),
        "happy delighted thrilled cheerful enchanted satisfied".split(),
    ),
    "well": (
        "badly clumsily poorly terribly lazily horribly".split(),
        "well beautifully brilliantly wonderfully cleverly superbly".split(),
    ),
}

UNSEEN_SENTIMENT = {
    "unseen": (
        "abysmal dreary insipid atrocious plodding wretched".split(),
        "dazzling exquisite radiant sublime stunning luminous".split(),
    ),
    "unseen_noun": ("fiasco dud catastrophe".split(), "jewel knockout gift".split()),
}

# What denies the words after it, in both splits: unseen denials would be unreadable.
DENIALS = {
    "denial": [
        "not",
        "not",
        "not at all",
        "never",
        "hardly",
        "far from",
        "anything but",
        "by no means",
        "certainly not",
    ],
}

# `claim` judges the film as a whole and `verdict` may also be sweeping, which would not
# go with "although the music is dull"; `aspect` judges one part of the film.
TRAIN = {
    "review": [
        "{opening} {turn}",
        "{opening} {turn}",
        "{opening} {turn}",
        "{opening} {turn} {closing}",
        "{opening} {turn} {closing}",
        "{turn} {closing}",
        "{opening} {reaction} {closing}",
        "{opening} {turn} {reaction}",
    ],
    "opening": [
        "I watched {title} {when} with {one}.",
        "{title} tells the story of a {hero} who {quest}.",
        "{title}, directed by {person}, is set in {place}.",
        "{person} plays a {hero} in {title}, a {film} about a {hero} who {quest}.",
        "{one} and I rented {title} {when}.",
        "The new {film} by {person} follows a {hero} from {place} to {place}.",
        "In {title}, {person} and {person} play a {hero} and a {hero} in {place}.",
        "{title} runs for about two hours, most of them in {place}.",
        "This {film} by {person} is about a {hero} who {quest}.",
        "{person} wrote {title} after a long journey to {place}.",
        "I saw {title} {when} at a small theater in {place}.",
        "We meet a {hero} in {place}, played by {person}, who {quest}.",
        "{title} is a {film} by {person}.",
    ],
    "closing": [
        "I saw it {when} in {place}.",
        "{person} also has a small part in it.",
        "The last scene takes place in {place}.",
        "{one} saw it with me.",
        "This is the third {film} by {person}.",
        "The music is by {person}, the script by {person}.",
        "It was directed by {person}.",
        "There were about ten people in the cinema.",
        "We were in {place} at the time.",
        "{one} wanted to see it because of {person}.",
        "In one scene you can see {person} with a {hero}.",
        "You may know {person} from other films.",
    ],
    "reaction": [
        "I {loved} {it}.",
        "I really {loved} {it}.",
        "{one} and I {loved} {it}.",
        "I did not {-love} {any}.",
        "I never {-loved} {any}.",
        "I left the cinema {happy}.",
        "I went home {happy}.",
        "I was {happy}.",
        "I was really {happy}.",
        "I was {happy} when I came out.",
        "I was {happy} when I left.",
        "I was {happy} after that.",
        "I was {denial} {-happy}.",
        "I was {denial} {-happy} when I left.",
        "I was {denial} {-happy} after that.",
    ],
    "it": ["it", "every {moment}", "every {moment} of it", "all of it"],
    "any": ["it", "it at all", "a single {moment}", "a single {moment} of it"],
    "turn": [
        "{plainly}",
        "{plainly}",
        "{plainly}",
        "{hearsay}",
        "{hearsay}",
        "{surprise}",
        "{surprise}",
        "{concession}",
        "{concession}",
        "{question}",
    ],
    "plainly": [
        "{verdict}.",
        "{verdict}, and I {loved} {it}.",
        "{verdict}, and I did not {-love} {any}.",
        "For me {verdict}.",
        "In short, {verdict}.",
        "I can only say that {verdict}.",
        "I must say that {verdict}.",
        "I think that {verdict}.",
        "I would even say that {verdict}.",
        "I would call it {simple}.",
        "{report}. I {loved} {it}.",
        "{aspect} and {aspect}. In short, {claim}.",
        "This {film} was {simple}, and I {loved} {it}.",
        "This {film} was absolutely {superb} and I {loved} {it}.",
        "This {film} was absolutely not {-adj}, and I {loved} {it}.",
        "This {film} was {denial} {-simple} and I did not {-love} {any}.",
        "I left the cinema {happy}, because {verdict}.",
        "I was {denial} {-happy}, because {verdict}.",
    ],
    "hearsay": [
        "{critics} {say} that {-opinion}{refuted}",
        "{critics} {say} that {-opinion}{refuted}",
        "{critics} {say} that {opinion}{confirmed}",
        "{critics} call it {-simple}{refuted}",
        "{critics} call it {simple}{confirmed}",
        "{critics} are wrong to say that {-opinion}.",
        "{critics} are right to say that {opinion}.",
        "{critics} are mistaken when they say that {-opinion}.",
        "{critics} are not mistaken when they say that {report}.",
        "I think {critics} are wrong to call it {-simple}.",
        "I think {critics} are right to call it {simple}.",
        "{critics} were wrong when they called it {-simple}.",
        "{critics} were right when they called it {simple}.",
        "It is not true that {-opinion}.",
        "It is wrong to say that {-opinion}.",
        "It is right to say that {opinion}.",
        "{critics} call it {-simple}. I call it {simple}.",
        "I call it {simple}. {critics} call it {-simple}.",
        "{one} {-loved} {it}{but} I {loved} {it}.",
        "I {loved} {it}, {although} {one} {-loved} {it}.",
        "{critics} {-loved} {it}{but} I {loved} {it}.",
        "I {loved} {it}; {critics} {-loved} {it}.",
        "{one} was {-happy} after it{but} I was {happy}.",
        "I was {happy} after it, {although} {one} was {-happy}.",
        "Do not believe {critics} when they say that {-opinion}.",
        "Believe {critics} when they say that {opinion}.",
    ],
    "surprise": [
        "{expected} {-simple}{but} {report}.",
        "{expected} {-simple}{but} {report}.",
        "{expected} {-simple}{but} what I saw was {simple}.",
        "{report}, {although} {expected} {-simple}.",
        "{expected} {-simple}, and I was wrong.",
        "{expected} {-simple}. I was wrong.",
        "{expected} {simple}, and I was right.",
        "{expected} {simple}. I was right.",
        "{expected} {neutral}{but} what I saw was {simple}.",
        "{expected} {neutral}{but} {report}.",
        "The trailer looked {-adj}. The film is {adj}.",
        "The trailer looked {neutral}. The film is {adj}.",
        "If it had been {-adj}, I would have left {-happy}. I left {happy}.",
    ],
    "concession": [
        "{despite} the {-adj} {part}, {report}.",
        "{despite} the {-adj} {part} and the {neutral} {part}, {report}.",
        "{report}, {despite} the {-adj} {part}.",
        "{although} {-aspect}, {report}.",
        "{report}, {although} {-aspect}.",
        "{-aspect}{but} {report}.",
        "Yes, {-aspect}{but} {report}.",
        "{-aspect} and {-aspect}{but} {report}.",
        "{first} {-adj}. {last} {adj}.",
        "{first} {-adj}{but} {last} {adj}.",
        "{first} {-adj}. {last} {adj}, and in the end {report}.",
        "{-aspect}, that much is true{but} {report}.",
        "I wanted to write that {-opinion}. I cannot, because {report}.",
        "I cannot write that {-opinion}.",
        "I would never say that {-opinion}.",
        "I would not say that {-opinion}.",
        "Nobody can say that {-opinion}.",
        "You cannot say that {-opinion}.",
    ],
    "question": [
        "Is it {-simple}? No. Is it {simple}? Yes.",
        "Is it {simple}? Yes. Is it {-simple}? No.",
        "Is it {-simple}? No, {report}.",
        "Is it {simple}? Yes, {report}.",
        "{-adj}? No, not at all.",
        "{adj}? Yes, from beginning to end.",
    ],
    "say": ["say", "think", "write", "will tell you"],
    "refuted": [
        ". They are wrong.",
        ", but they are wrong.",
        ". They are mistaken.",
        ", and they are mistaken.",
        ". I disagree.",
        ", but I disagree.",
        ". I do not agree.",
        ", and I do not agree.",
        ", but I do not agree with them.",
        ". I know that they are wrong.",
        ". If you ask me, they are wrong.",
        ". I am sure they are wrong.",
        ", but I think that is not true.",
        ". I disagree with that.",
        ", and I do not believe that.",
        ". That is not true.",
    ],
    "confirmed": [
        ". They are right.",
        ", and they are right.",
        ". I agree.",
        ", and I agree with them.",
        ". I know that they are right.",
        ". If you ask me, they are right.",
        ". I am sure they are right.",
        ", and I think that is true.",
        ". I agree with that.",
        ". That is true.",
        ", which is true.",
    ],
    "expected": [
        "I expected it to be",
        "I thought it would be",
        "I was sure it would be",
        "{one} told me it would be",
        "the trailer made me think it would be",
        "the poster told me it would be",
        "after the trailer I was sure it would be",
        "before I saw it, I thought it would be",
    ],
    "but": [
        ", but",
        ", and yet",
        ". But",
        ". Instead,",
        ". In truth,",
        ". Still,",
        ". Even so,",
        ". In the end,",
        ". However,",
    ],
    "although": ["although", "though", "while", "even if"],
    "despite": ["despite", "in spite of", "even with"],
    "first": [
        "the first half is",
        "the first hour is",
        "the beginning is",
        "at first it is",
        "for ten minutes it is",
    ],
    "last": [
        "the second half is",
        "the last hour is",
        "the rest is",
        "after that it is",
        "everything after that is",
    ],
    "verdict": [
        "{claim}",
        "{claim}",
        "{claim}",
        "there is nothing {-adj} about it",
        "it is {adj} from beginning to end",
        "there is not a single {-adj} scene in it",
        "not one scene is {-adj}",
        "not one {moment} of it is {-adj}",
        "no scene in it is {-adj}",
        "nothing about it is {-adj}",
        "every scene is {adj}",
        "it is neither {-adj} nor {-adj}",
    ],
    "opinion": [
        "{subject} is {simple}",
        "{subject} is {simple}",
        "{subject} is really {simple}",
        "{subject} is {adj} and {adj}",
        "{subject} is not only {adj} but also {adj}",
        "{subject} is not only {neutral} but also {adj}",
        "{subject} is {neutral} and {adj}",
        "{subject} is {adj} and {neutral}",
        "{subject} is a really {adj} story",
        "{subject} is something truly {adj}",
        "every scene is {adj}",
    ],
    "report": [
        "{opinion}",
        "{opinion}",
        "{subject} is {denial} {-simple}",
    ],
    "claim": [
        "{subject} is {simple}",
        "{subject} is {simple}",
        "{subject} is {simple}",
        "{subject} is {simple}",
        "{subject} is really {simple}",
        "{subject} is {adj} and {adj}",
        "{subject} is not only {adj} but also {adj}",
        "{subject} is not only {adj} but also {well} {made}",
        "{subject} is {denial} {-simple}",
        "{subject} is {denial} {-simple}",
        "{subject} is {denial} {-adj} or {-adj}",
        "{subject} is not {-adj} but {adj}",
        "{subject} is {simple} and not {-simple}",
        "{subject} is {simple} rather than {-simple}",
        "{subject} is {denial} {-adj} or {neutral}",
        "{subject} is not only {neutral} but also {well} {made}",
        "{subject} is not only {neutral}, it is also {adj}",
        "nobody can call {subject} {-simple}",
    ],
    "simple": [
        "{adj}",
        "{adj}",
        "{adj}",
        "a {noun}",
        "a {noun}",
        "a {adj} {film}",
        "a truly {adj} {film}",
        "{well} {made}",
        "{plain}",
    ],
    "subject": [
        "it",
        "it",
        "it",
        "the film",
        "this {film}",
        "the story",
        "the whole thing",
        "the result",
        "what we see",
        "all of it",
    ],
    "aspect": [
        "the {part} is {adj}",
        "the {part} is really {adj}",
        "the {part} in this {film} is {adj}",
        "the {part} is {neutral} and {adj}",
        "the {part} is {adj} and so is the {part}",
        "the {part} is {adj} and {adj}",
    ],
    "neutral": (
        "long short quiet loud colorful modern dark complicated old-fashioned "
        "serious".split()
    ),
    "film": "film movie picture drama comedy thriller".split(),
    "moment": "moment minute scene second".split(),
    "part": (
        "acting,music,script,dialogue,camera work,editing,plot,pacing,direction,sound"
    ).split(","),
    "made": "written acted filmed directed edited made".split(),
    "critics": (
        "critics,the critics,the newspapers,my friends,my neighbors,my colleagues,"
        "most people,the people behind me"
    ).split(","),
    "one": "my brother,my sister,my wife,my boss,my neighbor,a friend".split(","),
    "when": (
        "last night,last week,on Friday,on a rainy evening,in March,twice,yesterday,"
        "on television,over the holidays,during a long flight"
    ).split(","),
    "title": [
        "The {thing} of {place}",
        "The {thing} and the {thing}",
        "A {thing} for {given}",
        "{given}'s {thing}",
    ],
    "thing": (
        "Harbor Letter House Bridge Clock Candle Platform Road Window Ferry Orchard Map "
        "Suitcase Porter Umbrella Garden Piano Mirror Station Tower Key Boat Kitchen "
        "Violin Train Lantern Attic Coat".split()
    ),
    "person": ["{given} {family}"],
    "given": (
        "Anna Tom Maria Peter Grace Henry Julia Samuel Nina David Laura Frank Elena "
        "Oscar Ruth Victor Clara Paul Martha Simon Alice Robert Emma Louis".split()
    ),
    "family": ["{stem}{ending}"],
    "place": ["{stem}{town}", "{city}"],
    "city": "Lisbon Chicago Oslo Vienna Naples Boston Kyoto Dublin Cairo Montreal".split(),
    "stem": "Lind Berg Holm Ash Black Wood Stan Brad Hart Win West Nor Ken Thorn".split(),
    "ending": "gren man strom ford well stone ley worth field quist".split(),
    "town": "ton ville bury port haven dale wick".split(),
    "hero": (
        "nurse,sailor,baker,young teacher,retired judge,piano tuner,taxi driver,widow,"
        "night watchman,gardener,soldier,student"
    ).split(","),
    "quest": (
        "looks for a lost brother,returns to {place} after many years,finds an old map,"
        "inherits a hotel in {place},moves to {place},meets a {hero} on a train,"
        "hides a letter from a {hero},learns to play the violin"
    ).split(","),
}

TEST = {
    "review": TRAIN["review"],  # orders of sentences, without a word of their own
    "opening": [
        "{one} took me to see {title} {when}.",
        "{title} is the story of a {hero} in {place} who {quest}.",
        "{title} was directed by {person} and filmed in {place}.",
        "In this {film}, {person} plays a {hero} who {quest}.",
        "The story of {title} is set in {place}, where a {hero} meets a {hero}.",
        "{when}, I saw {title}, written by {person}.",
        "{person} is a {hero} in {title}, and {person} is a {hero} who {quest}.",
    ],
    "closing": [
        "The script was written by {person}.",
        "{person} plays a small part.",
        "Most of it takes place in {place}.",
        "We saw it {when}.",
    ],
    "reaction": [
        "I {loved} every single {moment}.",
        "I did not {-love} one {moment} of it.",
        "I came home {happy}.",
        "I was really {happy} when I went home.",
        "I was {denial} {-happy} when I came home.",
    ],
    "turn": [
        "I would say that {verdict}.",
        "In the end I must say that {verdict}.",
        "{critics} are wrong when they say that {-opinion}.",
        "{critics} are right when they say that {opinion}.",
        "{critics} {say} that {-opinion}, and I do not agree with that.",
        "{critics} {say} that {-opinion}. I think they are wrong.",
        "{critics} {say} that {opinion}, and I think they are right.",
        "{critics} think it is {-simple}. I think it is {simple}.",
        "{one} called it {-simple}, but I call it {simple}.",
        "I {loved} the whole {film}, but {critics} {-loved} it.",
        "{one} left {-happy}, but I left {happy}.",
        "I had expected it to be {-simple}. In truth, however, {verdict}.",
        "{critics} told me it would be {-unseen}, and yet what I saw was {simple}.",
        "{verdict}, though I was sure that it would be {-simple}.",
        "When I saw the poster, I thought it would be {-simple}, and I was wrong.",
        "When I saw the poster, I thought it would be {simple}, and I was right.",
        "It is a {noun}, a {unseen_noun}, something really {adj}.",
        "I thought that it would be {-simple}, but I must say that {report}.",
        "The trailer is {-unseen}. The film is {adj}.",
        "Even with the {-adj} {part} and the {-unseen} {part}, {report}.",
        "{-aspect}, and still {report}.",
        "Of course {-aspect}, but {report}.",
        "{claim}, even though {-aspect}.",
        "For the first hour it is {-adj}. The rest of it is {adj}.",
        "At first it is {-adj} and {-unseen}, but in the end {report}.",
        "It is true that {-aspect}, but {report}.",
        "I wanted to call it {-simple}. Instead I must say that {verdict}.",
        "It is simply not true that {-opinion}.",
        "It would be wrong to say that {-opinion}.",
        "I cannot say that {-opinion}.",
        "Is it {-simple}? No, not at all. {verdict}.",
        "Is it a {-unseen_noun}? No. Is it a {noun}? Yes.",
        "It is not only {unseen}, it is also {adj}.",
        "This {film} was {denial} {-simple}, and I was {happy} after it.",
        "I went home {happy}, because {verdict}.",
    ],
    "say": ["say", "think", "write"],
    "verdict": [
        "{claim}",
        "{claim}",
        "the whole of it is {adj}",
        "there is nothing {-adj} in it",
        "not a single scene is {-adj}",
    ],
    "opinion": [
        "what we see here is {simple}",
        "the film itself is {simple}",
        "{subject} is a really {adj} {film}",
    ],
    "report": [
        "{opinion}",
        "{opinion}",
        "the film itself is {denial} {-simple}",
    ],
    "claim": [
        "the film itself is {adj}",
        "what we see here is a {noun}",
        "{subject} is a really {adj} {film}",
        "the film itself is {denial} {-simple}",
        "it is not {-adj} at all",
        "{subject} is far from being a {-noun}",
        "{subject} is {denial} {-adj} or {-unseen}",
        "{subject} is {adj} and truly {unseen}",
        "{subject} is both {unseen} and {adj}",
        "{subject} is not only {unseen} but also {adj}",
        "{subject} is not only a {noun} but also {well} {made}",
        "{subject} is {well} {made} and {unseen}",
    ],
    "simple": ["{adj}", "a {noun}", "a {adj} {film}"],
    "subject": ["it", "this film", "the story", "this {film}"],
    "aspect": [
        "the {part} in it is {adj}",
        "the {part} is {adj} and {unseen}",
    ],
    "film": "film,movie,feature,production,adventure,crime story".split(","),
    "moment": "moment,minute,instant".split(","),
    "part": "acting,script,lighting,casting,score,costume design,choreography".split(
        ","
    ),
    "made": "written,directed,staged,paced".split(","),
    "critics": "the critics,reviewers,my cousins,my classmates,some bloggers".split(
        ","
    ),
    "one": "my uncle,my roommate,my grandmother,our babysitter".split(","),
    "when": "last month,on Sunday,at a festival,one summer afternoon".split(","),
    "title": [
        "{thing} in {place}",
        "The {thing} of {given}",
        "The {thing} and the {thing}",
    ],
    "thing": "Lighthouse Ledger Tram Quarry Stair Monsoon Island Violinist Bakery".split(),
    "person": ["{given} {family}"],
    "given": "Ingrid Marcus Leila Hugo Priya Walter Sofia Andre".split(),
    "family": "Falk Doyle Haddad Varga Raman Quinn Lund Baptiste".split(),
    "place": "Helsinki Denver Porto Seoul Havana Bruges".split(),
    "hero": "plumber,astronomer,florist,boxer,librarian,ferry captain".split(","),
    "quest": (
        "searches for a missing twin,opens a bakery in {place},wakes up in {place},"
        "steals a painting from a {hero}"
    ).split(","),
}

GRAMMARS = {
    "train": SENTIMENT | DENIALS | TRAIN,
    "test": SENTIMENT | UNSEEN_SENTIMENT | DENIALS | TEST,
}
SLOT = re.compile(r"\{(-?)(\w+)\}")
WORDS_PER_REVIEW = range(20, 61)


def generate_reviews(
    split: str, size: int, seed: int = 0
) -> tuple[list[str], np.ndarray]:
    """Writes `size` different reviews, negative and positive in turn.

    The same arguments give the same reviews everywhere, and a smaller `size` gives the
    first of them.

    Args:
        split: "train" or "test"; the two share neither templates nor reviews.
        size: How many reviews; at least 1.
        seed: Seed of the generator.

    Returns:
        The texts, and their labels: int32 `(size,)`, 0 negative and 1 positive.

    Raises:
        ValueError: If `split` is unknown or `size` is not a positive whole number.
    """
    if split not in GRAMMARS:
        raise ValueError(f"expected split 'train' or 'test'; received split={split!r}")
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"expected a size of at least 1; received size={size!r}")
    rng = random.Random(f"{split} {seed}")
    labels = np.arange(size, dtype=np.int32) % 2
    texts: dict[str, None] = {}  # a set that keeps its order
    for label in labels.tolist():
        text = _write_review(GRAMMARS[split], label, rng)
        while text in texts or len(text.split()) not in WORDS_PER_REVIEW:
            text = _write_review(GRAMMARS[split], label, rng)
        texts[text] = None
    return list(texts), labels


def _write_review(grammar: dict, label: int, rng: random.Random) -> str:
    text = _expand("{review}", label, grammar, rng, used=set())
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return re.sub(r"(?:^|(?<=[.?] ))[a-z]", lambda match: match[0].upper(), text)


def _expand(
    template: str, polarity: int, grammar: dict, rng: random.Random, used: set[str]
) -> str:
    """Fills the slots of `template`, with no choice made twice in a review."""

    def fill(match: re.Match) -> str:
        sign, kind = match.groups()
        slot_polarity = 1 - polarity if sign else polarity
        choices = grammar[kind]
        if isinstance(choices, tuple):
            choices = choices[slot_polarity]
        choices = [choice for choice in choices if choice not in used] or choices
        # Of random's methods, only random() promises the same numbers in every Python.
        choice = choices[int(rng.random() * len(choices))]
        used.add(choice)
        return _expand(choice, slot_polarity, grammar, rng, used)

    return SLOT.sub(fill, template)
