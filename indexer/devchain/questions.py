"""Questions for the development chain's markets: (question, outcomes, days until it resolves)."""

Question = tuple[str, tuple[str, ...], int]

YES_NO = ("Yes", "No")

BINARY: tuple[Question, ...] = (
    ("Will Bitcoin close above $150,000 on 31 December?", YES_NO, 45),
    ("Will the central bank cut its main rate at the next meeting?", YES_NO, 21),
    ("Will the incumbent president win re-election?", YES_NO, 120),
    ("Will a crewed mission land on the Moon before 2030?", YES_NO, 365),
    ("Will Ethereum's next hard fork activate on schedule?", YES_NO, 60),
    ("Will the home side win the derby on Saturday?", YES_NO, 20),
    ("Will a magnitude 8.0 or stronger earthquake strike this quarter?", YES_NO, 75),
    ("Will the peace talks produce a signed ceasefire this month?", YES_NO, 28),
    ("Will global average temperature set a new annual record?", YES_NO, 200),
    ("Will the antitrust suit be settled out of court?", YES_NO, 90),
    ("Will an AI system win gold at the mathematics olympiad?", YES_NO, 150),
    ("Will the film open with more than $100 million at the weekend?", YES_NO, 25),
    ("Will a new malaria vaccine be approved this year?", YES_NO, 180),
    ("Will the total value locked on Base exceed $10 billion?", YES_NO, 40),
    ("Wird die Koalition bis zum Jahresende halten?", ("Ja", "Nein"), 100),
    ("Will the marathon world record be broken in the spring season?", YES_NO, 110),
)

CATEGORICAL: tuple[Question, ...] = (
    ("Which party will win the most seats?", ("Labour", "Conservatives", "Liberal Democrats", "Other"), 80),
    ("Who will win the Champions League?", ("Real Madrid", "Manchester City", "Bayern", "Arsenal", "Other"), 95),
    ("Where will ETH trade at the end of the month?", ("Below $3,000", "$3,000 to $4,000", "Above $4,000"), 30),
    ("Who will win the Nobel Prize in Physics?", ("Quantum computing", "Astrophysics", "Materials", "Other"), 130),
    ("How many rate cuts will there be this year?", ("None", "One", "Two", "Three or more"), 160),
    ("Which city will host the 2040 Olympics?", ("Doha", "Istanbul", "Berlin", "Delhi", "Other"), 300),
    ("Quel film gagnera la Palme d'Or ?", ("Français", "Américain", "Autre"), 70),
    ("Which team will top the group?", ("Brazil", "Japan", "Ghana", "Norway"), 35),
    ("Which chain will have the most stablecoin volume?", ("Ethereum", "Solana", "Base", "Tron"), 50),
    ("What will be the year's best-selling console?", ("Nintendo", "Sony", "Microsoft"), 140),
)
